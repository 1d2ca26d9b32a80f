import { hasNoRevAvail } from '#ca/pkix/no-rev-avail.ts';
import type { RevocationRecord } from '#gateway/domain/revocation-record.ts';
import type { Store } from '#gateway/ports/store.ts';

/** Each transaction holds up the others for some milliseconds. */
const PAGE = 200;

/**
 * A list was made by a clock that was ahead: what ended up to then has left lists and record of changes as if it had
 * expired, and is revoked and valid. It is put there again, from the record of revocations, which nothing leaves. Doing it
 * twice changes nothing.
 * @param ahead thisUpdate of that list, milliseconds UTC @returns how many were put there
 */
export async function listAgain(store: Store, { now, ahead }: { now: number; ahead: number }): Promise<number> {
  let count = 0;
  for (let after: string | undefined; ; ) {
    const page = await store.read.revocations.listForCrl(now, { after, limit: PAGE });
    const ended = page.filter(({ notAfter }) => notAfter <= ahead);
    if (ended.length > 0) count += await append(store, ended);
    after = page.at(-1)?.serial;
    if (ended.length < PAGE || after === undefined) return count;
  }
}

function append(store: Store, revoked: readonly RevocationRecord[]): Promise<number> {
  return store.write(async ({ certificates, statusChanges }) => {
    let count = 0;
    for (const { serial, reason, revokedAt: at, notAfter } of revoked) {
      const certificate = await certificates.find(serial);
      if (certificate === undefined || hasNoRevAvail(certificate.der)) continue;
      const { issuerKeyId } = certificate;
      await statusChanges.append({ serial, issuerKeyId, change: 'revoked', reason, at, notAfter });
      count += 1;
    }
    return count;
  });
}
