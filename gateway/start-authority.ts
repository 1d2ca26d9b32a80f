import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { AuthorityDescription, CertificateAuthority } from '#ca/ports/certificate-authority.ts';
import { connectAuthority } from '#ca/socket/authority-client.ts';
import { DATA_FOLDER } from '#gateway/contract/data-folder.ts';
import type { Log } from '#gateway/ports/log.ts';
import { AuthorityProcess, runCeremony } from './authority-process.ts';
import { type GatewayConfig, inDataFolder } from './config.ts';

const AUTHORITY_START_MS = 15_000;

type AuthorityStart = { socket: string; statusUrl: string; stops: (() => Promise<void>)[] };

/** The authority this gateway runs itself, after the ceremony when there is no CA yet; or the one it was pointed to. */
export async function startAuthority(
  config: GatewayConfig,
  log: Log,
  { socket, statusUrl, stops }: AuthorityStart,
): Promise<CertificateAuthority> {
  if (config.caSocket === undefined) {
    const dir = inDataFolder(config, DATA_FOLDER.ca);
    if (!(await exists(join(dir, 'authority.json')))) {
      log.info('making root and intermediate', { dir, trustDomain: config.trustDomain });
      await runCeremony({ dir, trustDomain: config.trustDomain });
    }
    const process = new AuthorityProcess({ dir, socket, statusUrl, log });
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

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
