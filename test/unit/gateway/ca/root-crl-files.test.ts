import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { readAuthorityFolder } from '#ca/ceremony/authority-folder.ts';
import { initialiseAuthority } from '#ca/ceremony/initialise-authority.ts';
import { prepareSuccessor } from '#ca/ceremony/prepare-successor.ts';
import { signRootCrl } from '#ca/ceremony/sign-root-crl.ts';
import { rootCrlFiles } from '#gateway/root-crl-files.ts';
import { tempFolder } from '#test/fixtures/ca/temp-folder.ts';
import { createMemoryLog } from '#test/fixtures/doors/memory-log.ts';

const log = createMemoryLog();
let dir: string;
let roots: Buffer[];
let read: ReturnType<typeof rootCrlFiles>;

beforeEach(async () => {
  log.lines.length = 0;
  dir = join(tempFolder(), 'ca');
  await initialiseAuthority(dir);
  const { root } = await readAuthorityFolder(dir);
  roots = [root.der];
  read = rootCrlFiles(join(dir, 'root.crl'), () => roots, log);
});

async function nextRoot() {
  await prepareSuccessor(dir, { root: true });
  const last = (await readAuthorityFolder(dir)).generations.at(-1);
  if (last === undefined) throw new Error('there is one more');
  return last;
}

it('are found for each root that is trusted, in the order of the roots, and read again when signed anew', async () => {
  const [first] = await read();
  expect(first).toMatchObject({ number: 1 });
  const { root, dir: made } = await nextRoot();
  expect(await read()).toHaveLength(1);
  roots = [root.der, ...roots];
  expect((await read()).map(({ keyId }) => keyId)).toEqual([root.subjectKeyId, first?.keyId]);
  await signRootCrl(dir, { now: Date.now() + 5000 });
  expect((await read()).map(({ number }) => number)).toEqual([1, 2]);
  // Where a version of before has put it.
  copyFileSync(join(made, 'root.crl'), join(dir, 'root.crl'));
  expect((await read()).map(({ keyId }) => keyId)).toEqual([root.subjectKeyId]);
});

it('are not made up of what is none: that is said once', async () => {
  writeFileSync(join(dir, 'root.crl'), 'no list');
  expect(await read()).toEqual([]);
  expect(await read()).toEqual([]);
  expect(log.lines.map(({ message }) => message)).toEqual(['not a CRL of a root of ours, not served']);
  const other = join(tempFolder(), 'ca');
  await initialiseAuthority(other);
  copyFileSync(join(other, 'root.crl'), join(dir, 'root.crl'));
  expect(await read()).toEqual([]);
});
