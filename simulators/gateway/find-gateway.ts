import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { DATA_FOLDER, type ReadyFile, type RunFile } from '#gateway/contract/data-folder.ts';
import { SimulatorError } from '#simulators/simulator-error.ts';

export type FoundGateway = { dataDir: string; operatorSocket: string; pid: number };

/** A gateway that runs on this host, by its data folder. @throws SimulatorError GATEWAY_NOT_RUNNING */
export async function findGateway(dataDir: string): Promise<FoundGateway> {
  const run = await readJson<RunFile>(join(dataDir, DATA_FOLDER.runFile), dataDir);
  return { dataDir, operatorSocket: resolve(dataDir, run.operatorSocket), pid: run.pid };
}

/** The same, by the file that `gatehouse serve --ready-file` wrote. */
export async function findGatewayByReadyFile(path: string): Promise<FoundGateway> {
  const { dataDir } = await readJson<ReadyFile>(path, path);
  return findGateway(dataDir);
}

async function readJson<T>(path: string, asked: string): Promise<T> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T;
  } catch (cause) {
    throw new SimulatorError('GATEWAY_NOT_RUNNING', `no gateway is found by ${asked}`, {
      cause,
      advice: 'start one with `gatehouse serve --data DIR` and give that folder, or leave the option out',
    });
  }
}
