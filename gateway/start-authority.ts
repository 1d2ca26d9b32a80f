import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { formatPem } from '#ca/pkix/pem.ts';
import type {
  AuthorityDescription,
  CertificateAuthority,
  SucceededAuthority,
} from '#ca/ports/certificate-authority.ts';
import { connectAuthority } from '#ca/socket/authority-client.ts';
import { DATA_FOLDER } from '#gateway/contract/data-folder.ts';
import type { Log } from '#gateway/ports/log.ts';
import { AuthorityProcess, runCeremony } from './authority-process.ts';
import { type GatewayConfig, inDataFolder } from './config.ts';
import { writeDurableFile } from './runtime/durable-file.ts';

const AUTHORITY_START_MS = 15_000;

type AuthorityStart = { socket: string; statusUrl: string; stops: (() => Promise<void>)[] };

/** The authority this gateway runs itself, after the ceremony when there is no CA yet; or the one it was pointed to. */
export async function startAuthority(
  config: GatewayConfig,
  log: Log,
  { socket, statusUrl, stops }: AuthorityStart,
): Promise<SucceededAuthority> {
  if (config.caSocket === undefined) {
    const dir = inDataFolder(config, DATA_FOLDER.ca);
    if (!(await exists(join(dir, 'authority.json')))) {
      log.info('making root and intermediate', { dir, trustDomain: config.trustDomain });
      await runCeremony({ dir, trustDomain: config.trustDomain });
    }
    const process = new AuthorityProcess({ dir, socket, statusUrl, crlShards: config.crlShards, log });
    stops.push(() => process.stop());
    await process.start();
  }
  const authority = connectAuthority(config.caSocket ?? socket);
  stops.push(() => authority.close());
  return authority;
}

/** @throws AuthorityError when it has not answered for a while */
export async function waitForAuthority(authority: CertificateAuthority): Promise<AuthorityDescription> {
  const giveUp = performance.now() + AUTHORITY_START_MS;
  for (;;) {
    try {
      return await authority.describe();
    } catch (error) {
      if (performance.now() > giveUp) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/**
 * Of an authority that runs on its own: its certificates, where the ready file, the commands and other people's scripts
 * look for them. Its keys stay where they are.
 * @throws Error when the folder holds an authority of this gateway's own, whose certificates must not be overwritten
 */
export async function keepAuthorityCertificates(config: GatewayConfig, authority: AuthorityDescription): Promise<void> {
  if (config.caSocket === undefined) return;
  const dir = inDataFolder(config, DATA_FOLDER.ca);
  if (await exists(join(dir, 'authority.json'))) {
    throw new Error(
      `${dir} holds an authority of its own: start without --ca-socket to use it, or move it away to use the one at ${config.caSocket}`,
    );
  }
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const files = [
    [DATA_FOLDER.rootCertificate, authority.rootCertificate],
    [DATA_FOLDER.intermediateCertificate, authority.intermediateCertificate],
  ] as const;
  for (const [name, der] of files) {
    await writeDurableFile(inDataFolder(config, name), formatPem('CERTIFICATE', der), 0o644);
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
