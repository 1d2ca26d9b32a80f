import { rm } from 'node:fs/promises';
import { takeExclusiveLock } from '#ca/keys/exclusive-lock.ts';
import { DATA_FOLDER, type RunFile } from '#gateway/contract/data-folder.ts';
import { type GatewayConfig, inDataFolder } from './config.ts';
import { writeDurableFile } from './runtime/durable-file.ts';

/** Where commands find the gateway; it goes with it. */
export async function writeRunFile(
  config: GatewayConfig,
  content: RunFile,
  stops: (() => Promise<void>)[],
): Promise<void> {
  const path = inDataFolder(config, DATA_FOLDER.runFile);
  await writeDurableFile(path, `${JSON.stringify(content, null, 2)}\n`, 0o600);
  stops.push(() => rm(path, { force: true }));
}

/** Two gateways on one folder would each believe to know all sessions. @throws Error when another one runs on it */
export function lockDataFolder(config: GatewayConfig): { release(): void } {
  try {
    return takeExclusiveLock(inDataFolder(config, DATA_FOLDER.lock));
  } catch (cause) {
    throw new Error(`another gateway runs on ${config.data}: stop it, or give this one its own folder with --data`, {
      cause,
    });
  }
}
