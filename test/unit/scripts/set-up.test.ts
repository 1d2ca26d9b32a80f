import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { DEBIAN_PACKAGES, missingPackages } from '#scripts/set-up/debian-packages.mjs';
import { SmallCheckout } from '#test/fixtures/scripts/small-checkout.ts';

describe('set-up', () => {
  let checkout: SmallCheckout;
  afterEach(() => checkout.dispose());

  const lock = async () => JSON.parse(await readFile(checkout.path('package-lock.json'), 'utf8'));

  test('installs on a fresh clone, with talk on stderr only, and is silent the second time', async () => {
    checkout = await SmallCheckout.make();
    const first = await checkout.run(['setup']);
    expect(first.stderr).toMatch(
      /^set-up: installing dependencies \(npm ci\) \.\.\.\nset-up: dependencies ready in [\d.]+ s\n$/,
    );
    expect(first).toMatchObject({ code: 0, stdout: '' });
    expect(existsSync(checkout.path('node_modules/node/bin/node'))).toBe(true);
    expect(existsSync(checkout.path('.setup.lock'))).toBe(false);
    expect(await checkout.run(['setup'])).toMatchObject({ code: 0, stdout: '', stderr: '' });
  });

  test('installs again when package-lock.json wants another version', async () => {
    checkout = await SmallCheckout.make();
    await checkout.run(['setup']);
    await checkout.write('vendor/other/package.json', { name: 'other', version: '1.0.0' });
    await checkout.npm('install', '--package-lock-only', './vendor/other');
    expect((await lock()).packages).toHaveProperty('node_modules/other');
    expect((await checkout.run(['setup'])).stderr).toContain('dependencies ready');
    expect(existsSync(checkout.path('node_modules/other/package.json'))).toBe(true);
  });

  test('installs again after an install that was interrupted', async () => {
    checkout = await SmallCheckout.make();
    await checkout.run(['setup']);
    await rm(checkout.path('node_modules/.package-lock.json'));
    expect((await checkout.run(['setup'])).stderr).toContain('dependencies ready');
  });

  test('installs again when a package has gone', async () => {
    checkout = await SmallCheckout.make();
    await checkout.run(['setup']);
    await rm(checkout.path('node_modules/node'));
    expect(await checkout.run(['setup'])).toMatchObject({ code: 0, stderr: expect.stringContaining('ready') });
  });

  test('fetches Node 24 itself when npm did not run the install script', async () => {
    checkout = await SmallCheckout.make({ isScriptBlocked: true });
    const { code, stderr } = await checkout.run(['setup']);
    expect(stderr).toMatch(/set-up: fetching Node 24 .*\nset-up: Node 24 ready in/);
    expect(code).toBe(0);
    expect(existsSync(checkout.path('node_modules/.bin/node'))).toBe(true);
  });

  test('says why Node 24 could not be fetched, and what to do', async () => {
    checkout = await SmallCheckout.make({ isScriptBlocked: true });
    await checkout.write('vendor/node/installArchSpecificPackage.js', 'console.error("no network"); process.exit(1)');
    const { code, stderr } = await checkout.run(['setup']);
    expect(stderr).toMatch(/set-up: Node 24 could not be fetched: no network\nset-up: next: allow the install script/);
    expect(code).toBe(1);
  });

  test('shows the reason of a failed npm ci, and ends with 1', async () => {
    checkout = await SmallCheckout.make();
    await checkout.write('vendor/other/package.json', { name: 'other', version: '1.0.0' });
    await checkout.write('package.json', {
      ...JSON.parse(await readFile(checkout.path('package.json'), 'utf8')),
      dependencies: { node: 'file:vendor/node', other: 'file:vendor/other' },
    });
    const { code, stdout, stderr } = await checkout.run(['setup']);
    expect(stderr).toMatch(/in sync[^]*set-up: npm ci failed; its reason stands above\nset-up: next: /);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  });

  test('is done once when two commands start at the same time', async () => {
    checkout = await SmallCheckout.make();
    const results = await Promise.all([checkout.run(['setup']), checkout.run(['setup'])]);
    expect(results.map(({ code }) => code)).toEqual([0, 0]);
    const talk = results.map(({ stderr }) => stderr).join('');
    expect(talk.match(/installing dependencies/g)).toHaveLength(1);
  });

  test('takes over the lock of a set-up that was killed', async () => {
    checkout = await SmallCheckout.make();
    const dead = spawn(process.execPath, ['-e', '']);
    await once(dead, 'exit');
    await checkout.write('.setup.lock', String(dead.pid));
    const { code, stderr } = await checkout.run(['setup']);
    expect(stderr).not.toContain('waiting');
    expect(code).toBe(0);
  });

  test('waits for the lock of a living set-up', async () => {
    checkout = await SmallCheckout.make();
    await checkout.write('.setup.lock', String(process.pid));
    const running = checkout.start('setup');
    const said = (words: string) => running.log.find(({ text }) => text.includes(words));
    const waiting = `waiting for another set-up of this checkout (pid ${process.pid})`;
    await running.until('that it waits', () => said(waiting));
    expect(said('installing dependencies')).toBeUndefined();
    expect(running.hasEnded).toBe(false);
    await rm(checkout.path('.setup.lock'));
    expect((await running.ended).code).toBe(0);
    expect(said('installing dependencies')).toBeDefined();
  });
});

describe('set-up of the programs that tests use', () => {
  let checkout: SmallCheckout;
  afterEach(() => checkout.dispose());

  /** Notes how it was called; with `install`, puts each wanted package's program on PATH. */
  const APT = `
echo "$*" >> "$(dirname "$0")/apt.log"
[ "$DEBIAN_FRONTEND" = noninteractive ] || exit 9`;
  const INSTALL = `${APT}
for name in "$@"; do
  case $name in
    openssl|curl|mosquitto) ;;
    strongswan-pki) name=pki ;;
    gnutls-bin) name=certtool ;;
    mosquitto-clients) name=mosquitto_pub ;;
    swtpm|dbus-daemon|faketime) ;;
    swtpm-tools) name=swtpm_setup ;;
    tpm2-tools) name=tpm2_send ;;
    libtpm2-pkcs11-tools) name=tpm2_ptool ;;
    *) continue ;;
  esac
  /bin/cp "$0" "$(dirname "$0")/$name"
done`;

  async function makeCheckout(apt: string | undefined): Promise<NodeJS.ProcessEnv> {
    checkout = await SmallCheckout.make();
    await checkout.run(['setup']);
    if (apt !== undefined) await checkout.writeProgram('apt-get', apt.replaceAll('dirname', '/usr/bin/dirname'));
    // A user who is not root gets there by sudo.
    await checkout.writeProgram('sudo', 'shift; [ "$1" = true ] && exit 0; exec "$@"');
    return checkout.environmentOfPrograms();
  }

  // A library is looked for on the machine itself: no program here can stand in for it.
  const lacksLibrary = missingPackages(DEBIAN_PACKAGES.filter(({ library }) => library !== undefined)).length > 0;

  test.skipIf(lacksLibrary)('installs what is missing, by name, and is silent the second time', async () => {
    const env = await makeCheckout(INSTALL);
    const first = await checkout.run(['setup', '--tests'], env);
    expect(withoutTpmProvider(first.stderr)).toMatch(
      /^set-up: installing Debian packages: openssl curl strongswan-pki .*\nset-up: Debian packages ready/,
    );
    expect(first).toMatchObject({ code: 0, stdout: '' });
    const calls = await readFile(checkout.path('programs/apt.log'), 'utf8');
    expect(calls).toMatch(/^-q .*install -y --no-install-recommends openssl curl strongswan-pki .*\n/);
    const second = await checkout.run(['setup', '--tests'], env);
    expect({ ...second, stderr: withoutTpmProvider(second.stderr) }).toMatchObject({ code: 0, stdout: '', stderr: '' });
  });

  test('refreshes the package lists once, then names what stays missing and goes on', async () => {
    const env = await makeCheckout(`${APT}\necho "E: Unable to locate package" >&2\nexit 100`);
    const { code, stderr } = await checkout.run(['setup', '--tests'], env);
    expect(stderr).toContain('set-up: missing: pki (Debian package strongswan-pki), which is an EST client');
    expect(stderr).toContain('apt-get failed: E: Unable to locate package. To install: sudo apt-get install openssl');
    expect(code).toBe(0);
    const calls = (await readFile(checkout.path('programs/apt.log'), 'utf8')).split('\n');
    expect(calls.filter((call) => call.endsWith(' update') && !call.includes('Dir::State'))).toHaveLength(1);
  });

  test('names what is missing where there is no apt-get', async () => {
    const env = await makeCheckout(undefined);
    const { code, stderr } = await checkout.run(['setup', '--tests'], env);
    expect(stderr).toMatch(
      /set-up: missing: openssl [^]*this user may not install them. To install: sudo apt-get install/,
    );
    expect(code).toBe(0);
  });
});

/** Taken from another release, which this stand-in for apt does not have: named, and nothing else changes. */
function withoutTpmProvider(stderr: string): string {
  return stderr.replace(/^set-up: missing: tpm2-openssl .*\n/gm, '');
}
