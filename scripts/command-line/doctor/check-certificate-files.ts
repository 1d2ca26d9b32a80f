import { X509Certificate } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DATA_FOLDER } from '#gateway/contract/data-folder.ts';
import type { HealthCheck } from '#gateway/contract/operator-api.ts';
import { formatTime } from '#scripts/command-line/format-time.ts';

const DAY = 86_400_000;
/** An authority that ends sooner cannot issue certificates of the usual length; a new one takes planning. */
const AUTHORITY_WARNING = 90 * DAY;
const GATEWAY_WARNING = 2 * DAY;

/** Root, intermediate and the gateway's own certificates are there and within their dates. */
export async function checkCertificateFiles(dataDir: string, now: number): Promise<HealthCheck[]> {
  const authority = await Promise.all([
    checkFile('root certificate', join(dataDir, DATA_FOLDER.rootCertificate), now, AUTHORITY_WARNING),
    checkFile('intermediate certificate', join(dataDir, DATA_FOLDER.intermediateCertificate), now, AUTHORITY_WARNING),
  ]);
  const folder = join(dataDir, DATA_FOLDER.gatewayKeys);
  const names = await readdir(folder).catch(() => []);
  const own: HealthCheck[] = [];
  for (const name of names.filter((name) => name.endsWith('.pem')).sort()) {
    const path = join(folder, name);
    if ((await readFile(path, 'utf8').catch(() => '')).includes('BEGIN CERTIFICATE')) {
      own.push(await checkFile(`gateway certificate ${name}`, path, now, GATEWAY_WARNING));
    }
  }
  return [...authority, ...own];
}

async function checkFile(name: string, path: string, now: number, warning: number): Promise<HealthCheck> {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(await readFile(path));
  } catch (error) {
    const detail = `${path}: ${error instanceof Error ? error.message : String(error)}`;
    return {
      name,
      ok: false,
      detail,
      advice: 'make a new authority (gatehouse ca init) or restore the folder from a backup',
    };
  }
  const from = Date.parse(certificate.validFrom);
  const until = Date.parse(certificate.validTo);
  if (now < from) {
    return { name, ok: false, detail: `is good only from ${formatTime(from, now)}`, advice: "set this host's clock" };
  }
  if (now + warning > until) {
    const advice = 'restart the gateway, which renews its own certificates; an authority is replaced by a ceremony';
    return { name, ok: false, detail: `ends ${formatTime(until, now)}`, advice };
  }
  return { name, ok: true, detail: `good until ${formatTime(until, now)}` };
}
