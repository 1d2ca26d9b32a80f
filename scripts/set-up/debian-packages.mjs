import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { runStep, secondsSince } from './run-step.mjs';
import { say } from './set-up-error.mjs';

/**
 * @typedef {{ package: string, command: string, library?: string, reason: string }} DebianPackage
 *   `library`: what it brings is no program but this shared object, for `command`.
 */

/** Programs that check us from outside, and the Debian package of each. @type {DebianPackage[]} */
export const DEBIAN_PACKAGES = [
  { package: 'openssl', command: 'openssl', reason: 'judges certificates and CRLs, makes CSRs' },
  { package: 'curl', command: 'curl', reason: 'is an EST client' },
  { package: 'strongswan-pki', command: 'pki', reason: 'is an EST client that keeps to every byte of RFC 7030' },
  {
    package: 'libstrongswan-standard-plugins',
    command: 'pki',
    library: 'ipsec/plugins/libstrongswan-openssl.so',
    reason: 'gives it elliptic curves',
  },
  {
    package: 'libstrongswan-extra-plugins',
    command: 'pki',
    library: 'ipsec/plugins/libstrongswan-curl.so',
    reason: 'gives it HTTP',
  },
  { package: 'mosquitto', command: 'mosquitto', reason: 'is the broker that ours is measured beside' },
  { package: 'mosquitto-clients', command: 'mosquitto_pub', reason: 'is an MQTT client written by others' },
  { package: 'gnutls-bin', command: 'certtool', reason: 'reads CRLs and OCSP answers, written by others' },
  { package: 'faketime', command: 'faketime', reason: 'gives devices a wrong clock' },
  { package: 'swtpm', command: 'swtpm', reason: 'is the TPM that devices of the tests have' },
  { package: 'swtpm-tools', command: 'swtpm_setup', reason: 'makes such TPMs, with endorsement certificates' },
  { package: 'tpm2-abrmd', command: 'tpm2-abrmd', reason: 'shares a TPM between programs, as a kernel does' },
  { package: 'libtss2-tcti-tabrmd0', command: 'tpm2-abrmd', reason: 'is how programs reach it' },
  { package: 'dbus-daemon', command: 'dbus-daemon', reason: 'connects them' },
  { package: 'tpm2-tools', command: 'tpm2_send', reason: 'is how the agent talks to a TPM' },
  { package: 'libtpm2-pkcs11-tools', command: 'tpm2_ptool', reason: 'shows keys in a TPM to PKCS#11' },
  {
    package: 'libtpm2-pkcs11-1',
    command: 'tpm2_ptool',
    library: 'pkcs11/libtpm2_pkcs11.so',
    reason: 'is PKCS#11 for a TPM',
  },
  {
    package: 'libengine-pkcs11-openssl',
    command: 'tpm2_ptool',
    library: 'engines-3/pkcs11.so',
    reason: 'is how TLS uses a key in a TPM where OpenSSL has no provider for it',
  },
];

// mosquitto is in sbin, which is not on every user's PATH.
const EXTRA_FOLDERS = ['/usr/sbin', '/usr/local/sbin', '/sbin'];

/** @template {{ command: string, library?: string }} T @param {readonly T[]} wanted @returns {T[]} */
export function missingPackages(wanted) {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter).filter(Boolean), ...EXTRA_FOLDERS];
  return wanted.filter(({ command, library }) =>
    library === undefined ? !folders.some((folder) => isExecutable(join(folder, command))) : !isLibraryThere(library),
  );
}

/** @param {string} library below a library folder of Debian: /usr/lib itself or that of an architecture */
function isLibraryThere(library) {
  const folders = existsSync('/usr/lib') ? readdirSync('/usr/lib').filter((name) => name.includes('-linux-')) : [];
  return ['', ...folders].some((name) => existsSync(join('/usr/lib', name, library)));
}

/**
 * Installs with apt-get where that needs no question (root, or sudo without a password); names what stays missing.
 * Never throws: the tests that need a missing program are skipped by name.
 *
 * @param {DebianPackage[]} missing
 */
export async function installDebianPackages(missing) {
  const prefix = privilege();
  const names = missing.map((entry) => entry.package);
  if (prefix === undefined) {
    nameMissing(missing, 'this user may not install them');
    return;
  }
  const start = performance.now();
  say(`installing Debian packages: ${names.join(' ')} ...`);
  let result = await aptInstall(prefix, names);
  if (!result.ok) {
    // A fresh container has no package lists yet.
    say('refreshing the package lists (apt-get update) ...');
    await apt(prefix, ['update']);
    result = await aptInstall(prefix, names);
  }
  if (!result.ok && names.length > 1) {
    for (const name of names) result = await aptInstall(prefix, [name]);
  }
  const still = missingPackages(missing);
  if (still.length > 0) nameMissing(still, `apt-get failed: ${result.output.at(-1)}`);
  else say(`Debian packages ready in ${secondsSince(start)}`);
}

/** @param {DebianPackage[]} missing @param {string} why */
function nameMissing(missing, why) {
  for (const entry of missing)
    say(`missing: ${entry.library ?? entry.command} (Debian package ${entry.package}), which ${entry.reason}`);
  say(`${why}. To install: sudo apt-get install ${missing.map((entry) => entry.package).join(' ')}`);
}

/** @returns {string[] | undefined} what to put before apt-get, or undefined when it may not be run */
function privilege() {
  if (!missingPackages([{ command: 'apt-get' }]).length) {
    if (process.getuid?.() === 0) return [];
    if (spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore', timeout: 5000 }).status === 0) return ['sudo', '-n'];
  }
  return undefined;
}

/** @param {string[]} prefix @param {string[]} names */
function aptInstall(prefix, names) {
  return apt(prefix, ['install', '-y', '--no-install-recommends', ...names]);
}

/** @param {string[]} prefix @param {string[]} args */
function apt(prefix, args) {
  // Another apt at work is waited for, not an error. `env` carries the setting through sudo.
  const [command, ...rest] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get'];
  return runStep(command, [...rest, '-q', '-o', 'DPkg::Lock::Timeout=120', ...args]);
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
