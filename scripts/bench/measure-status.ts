import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DATA_FOLDER } from '#gateway/contract/data-folder.ts';
import type { CaDescription, CertificateDetail, DeviceDetail } from '#gateway/contract/operator-api.ts';
import { STATUS_CONTENT_TYPE, STATUS_PATHS } from '#gateway/contract/status-paths.ts';
import { openSqliteStore } from '#gateway/store/sqlite-store.ts';
import { type BenchSettings, CONCURRENCY, type Measurement, scaled } from './bench-settings.ts';
import type { BenchStage } from './bench-stage.ts';
import type { Figure } from './figure.ts';
import type { LoadResult } from './load-jobs.ts';
import { median, percentile, rounded } from './statistics.ts';

type Store = Awaited<ReturnType<typeof openSqliteStore>>;

const SIZES = [1_000, 10_000, 100_000];
/** Enough to be busy, too few to be saturated: then waiting would be all that is measured. */
const LANES = 4;
const INCREMENTS = 5;
const DAY = 24 * 3600 * 1000;

/**
 * Lists of revocations and OCSP. Revocations without certificates are put into the gateway's own database; it notices
 * them itself, as it would those of another worker.
 */
export const measureStatus: Measurement = async (stage, settings) => {
  const store = await openSqliteStore(join(stage.ready.dataDir, DATA_FOLDER.database), { check: false });
  try {
    const ocsp = await measureOcsp(stage, settings);
    const calm = await knock(stage, settings, { revoking: false });
    const builds = await measureBuilds(stage, store, settings);
    const busy = await knock(stage, settings, { revoking: true });
    return {
      name: `Status: CRL and OCSP (${LANES} devices at a time at the doors, ${CONCURRENCY} OCSP clients)`,
      figures: [...builds, ...doorFigures(calm, busy), ...ocsp],
    };
  } finally {
    await store.close();
  }
};

async function measureBuilds(stage: BenchStage, store: Store, settings: BenchSettings): Promise<Figure[]> {
  const { intermediate } = await stage.operator.call<CaDescription>('describeCa');
  const figures: Figure[] = [];
  let listed = (await readCrl(stage)).entries;
  const add = async (count: number): Promise<number> => {
    const before = await readCrl(stage);
    await revokeUnseen(store, intermediate.keyId, count);
    listed += count;
    const after = await crlWith(stage, listed);
    return ((after.seconds - before.seconds) * 1000) / (after.builds - before.builds);
  };
  for (const size of SIZES.map((count) => scaled(count, settings))) {
    const first = await add(Math.max(1, size - listed));
    const increments: number[] = [];
    for (let round = 0; round < INCREMENTS; round += 1) increments.push(await add(1));
    figures.push(
      { name: `CRL of ${size} entries, most of them new: built and signed in`, value: first, unit: 'ms' },
      {
        name: `CRL of ${size} entries, one of them new: built and signed in`,
        value: median(increments),
        unit: 'ms',
        rounds: increments.map(rounded),
      },
    );
  }
  return figures;
}

async function revokeUnseen(store: Store, issuerKeyId: string, count: number): Promise<void> {
  const at = Date.now();
  const change = { issuerKeyId, change: 'revoked', reason: 'superseded', at, notAfter: at + 30 * DAY } as const;
  await store.write(async ({ statusChanges }) => {
    for (let i = 0; i < count; i += 1) {
      const serial = `7f${randomBytes(15).toString('hex')}`;
      await statusChanges.append({ ...change, serial: serial as never });
    }
  });
}

type CrlFacts = { entries: number; builds: number; seconds: number };

async function readCrl(stage: BenchStage): Promise<CrlFacts> {
  const text = await (await fetch(new URL(STATUS_PATHS.metrics, stage.ready.status.url))).text();
  const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
  return {
    entries: value('gatehouse_crl_entries'),
    builds: value('gatehouse_crl_build_seconds_count'),
    seconds: value('gatehouse_crl_build_seconds_sum'),
  };
}

async function crlWith(stage: BenchStage, entries: number): Promise<CrlFacts> {
  const giveUp = performance.now() + 30_000;
  for (;;) {
    const facts = await readCrl(stage);
    if (facts.entries >= entries) return facts;
    if (performance.now() > giveUp) throw new Error(`the CRL has ${facts.entries} entries, not ${entries}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

type Knocked = { enroll: LoadResult; connect: LoadResult; crls: number };

/** Latencies at both doors; with a revocation every half second, so that a list is always being made. */
async function knock(
  stage: BenchStage,
  settings: BenchSettings,
  { revoking }: { revoking: boolean },
): Promise<Knocked> {
  const fresh = await stage.register(scaled(500, settings));
  const known = await stage.devices(64);
  const victims = revoking ? await stage.devices(60) : [];
  const before = (await readCrl(stage)).builds;
  const ending = new AbortController();
  const revoked = revokeOneByOne(stage, victims, ending.signal);
  const enroll = await stage.load.run({ kind: 'enroll', target: stage.est, deviceIds: fresh, concurrency: LANES });
  const connect = await stage.load.run({
    kind: 'connect',
    target: stage.mqtt,
    deviceIds: known,
    count: scaled(1500, settings),
    concurrency: LANES,
  });
  const crls = (await readCrl(stage)).builds - before;
  ending.abort();
  await revoked;
  stage.release([...fresh, ...known]);
  return { enroll, connect, crls };
}

async function revokeOneByOne(stage: BenchStage, deviceIds: readonly string[], signal: AbortSignal): Promise<void> {
  for (const deviceId of deviceIds) {
    if (signal.aborted) return;
    await stage.operator.call('revokeDevice', { params: [deviceId], body: { reason: 'keyCompromise' } });
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

function doorFigures(calm: Knocked, busy: Knocked): Figure[] {
  return (['enroll', 'connect'] as const).map((kind) => {
    const [before, during] = [percentile(calm[kind].latencies, 99), percentile(busy[kind].latencies, 99)];
    const [p50, busyP50] = [median(calm[kind].latencies), median(busy[kind].latencies)];
    return {
      name: `${kind === 'enroll' ? 'EST' : 'MQTT'} door: p99 while that CRL is rebuilt again and again`,
      value: during,
      unit: 'ms',
      peer: { name: 'p99 with a small CRL and no revocations', value: before },
      note: `p50 ${rounded(busyP50)} of ${rounded(p50)} ms; ${busy.crls} CRLs in ${rounded(busy.enroll.seconds + busy.connect.seconds)} s`,
    };
  });
}

async function measureOcsp(stage: BenchStage, settings: BenchSettings): Promise<Figure[]> {
  const [deviceId = ''] = await stage.devices(1);
  const kept = await makeRequest(stage, deviceId, { nonce: false });
  const nonce = await makeRequest(stage, deviceId, { nonce: true });
  const { host, port } = stage.ready.status;
  const get = `GET ${STATUS_PATHS.ocsp}/${encodeURIComponent(kept.toString('base64'))} HTTP/1.1\r\nHost: status\r\n\r\n`;
  const head = `POST ${STATUS_PATHS.ocsp} HTTP/1.1\r\nHost: status\r\nContent-Type: ${STATUS_CONTENT_TYPE.ocspRequest}\r\n`;
  const post = Buffer.concat([Buffer.from(`${head}Content-Length: ${nonce.length}\r\n\r\n`), nonce]);
  const time = async (name: string, request: Buffer, count: number): Promise<Figure> => {
    const rounds: LoadResult[] = [];
    const job = { kind: 'ocsp', host, port, request: request.toString('base64'), concurrency: CONCURRENCY } as const;
    await stage.load.run({ ...job, count: scaled(1000, settings) });
    for (let round = 0; round < settings.rounds; round += 1) rounds.push(await stage.load.run({ ...job, count }));
    const rates = rounds.map((one) => one.count / one.seconds);
    const p99 = median(rounds.map(({ latencies }) => percentile(latencies, 99)));
    return {
      name,
      value: median(rates),
      unit: '/s',
      rounds: rates.map(rounded),
      note: `p99 ${rounded(p99)} ms; over HTTP, one load process`,
    };
  };
  return [
    await time('OCSP answers, GET, kept', Buffer.from(get), scaled(20_000, settings)),
    await time('OCSP answers, POST with a nonce, each signed', post, scaled(8_000, settings)),
  ];
}

/** As openssl asks about the certificate of this device. */
async function makeRequest(stage: BenchStage, deviceId: string, { nonce }: { nonce: boolean }): Promise<Buffer> {
  const device = await stage.operator.call<DeviceDetail>('showDevice', { params: [deviceId] });
  const serial = device.certificates[0]?.serial ?? '';
  const { pem } = await stage.operator.call<CertificateDetail>('showCertificate', { params: [serial] });
  const [certificate, request] = [join(stage.folder, 'asked.pem'), join(stage.folder, 'ocsp.der')];
  await writeFile(certificate, pem);
  const issuer = join(stage.ready.dataDir, DATA_FOLDER.intermediateCertificate);
  const how = nonce ? '-nonce' : '-no_nonce';
  await promisify(execFile)('openssl', ['ocsp', '-issuer', issuer, '-cert', certificate, how, '-reqout', request]);
  return readFile(request);
}
