import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runStep, secondsSince } from './run-step.mjs';
import { say } from './set-up-error.mjs';

/** Which release of Debian follows, for those whose own tpm2-openssl is older than 1.2. */
const NEXT_RELEASE = { bookworm: 'trixie' };

/**
 * The OpenSSL provider for keys in a TPM that the tests use: the system's own from version 1.2 on, else the one in our
 * cache. @param {string} root @returns {string | undefined} path of the module
 */
export function tpmProviderPath(root) {
  const cached = join(cacheFolder(root), 'tpm2.so');
  return [...systemModules(), cached].find((path) => isRecent(path));
}

/**
 * Takes tpm2-openssl from the next Debian release into a folder of our own: nothing of the system changes. The place to
 * download from is the machine's own, with the name of the release replaced. Never throws: tests that need it are
 * skipped by name.
 *
 * @param {string} root
 */
export async function installTpmProvider(root) {
  const start = performance.now();
  const folder = cacheFolder(root);
  await mkdir(folder, { recursive: true });
  const work = await mkdtemp(join(folder, 'apt-'));
  try {
    const problem = await download(work, join(folder, 'tpm2.so'));
    if (problem === undefined) say(`OpenSSL provider for TPM keys ready in ${secondsSince(start)}`);
    else say(`missing: tpm2-openssl 1.2 or later (${problem}); tests of TLS with a key in a TPM are skipped`);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** @param {string} work @param {string} target @returns {Promise<string | undefined>} what went wrong */
async function download(work, target) {
  const sources = await nextReleaseSources();
  if (sources === undefined) return 'no newer release of this system is known';
  await mkdir(join(work, 'lists', 'partial'), { recursive: true });
  await mkdir(join(work, 'archives', 'partial'), { recursive: true });
  await writeFile(join(work, 'next.sources'), sources);
  await writeFile(join(work, 'status'), '');
  const settings = {
    'Dir::State': work,
    'Dir::State::lists': join(work, 'lists'),
    'Dir::State::status': join(work, 'status'),
    'Dir::Cache': work,
    'Dir::Etc::sourcelist': join(work, 'next.sources'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Acquire::Languages': 'none',
    // Root may download into this folder; the user that apt changes to may not.
    'APT::Sandbox::User': 'root',
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  for (const command of [['update'], ['download', 'tpm2-openssl']]) {
    const result = await runStep('apt-get', ['-q', ...options, ...command], { cwd: work });
    if (!result.ok) return `apt-get failed: ${result.output.at(-1)}`;
  }
  const [archive] = (await readdir(work)).filter((name) => name.endsWith('.deb'));
  if (archive === undefined) return 'apt-get has downloaded nothing';
  const unpacked = await runStep('dpkg-deb', ['-x', archive, 'unpacked'], { cwd: work });
  if (!unpacked.ok) return `dpkg-deb failed: ${unpacked.output.at(-1)}`;
  const [module] = (await readdir(join(work, 'unpacked'), { recursive: true })).filter((name) =>
    name.endsWith('/tpm2.so'),
  );
  if (module === undefined) return 'the package holds no module';
  await copyFile(join(work, 'unpacked', module), `${target}.new`);
  await rename(`${target}.new`, target);
  return undefined;
}

/** @returns {Promise<string | undefined>} deb822: the machine's own main archive, for the release after its own */
async function nextReleaseSources() {
  const release = /^VERSION_CODENAME=(\w+)$/m.exec(await readFile('/etc/os-release', 'utf8').catch(() => ''))?.[1];
  const next = release === undefined ? undefined : new Map(Object.entries(NEXT_RELEASE)).get(release);
  if (release === undefined || next === undefined) return undefined;
  const folder = '/etc/apt/sources.list.d';
  const names = await readdir(folder).catch(() => []);
  const texts = await Promise.all(
    ['/etc/apt/sources.list', ...names.map((name) => join(folder, name))].map((path) =>
      readFile(path, 'utf8').catch(() => ''),
    ),
  );
  for (const text of texts) {
    const found = fromStanzas(text, release) ?? fromLines(text, release);
    if (found) return `Types: deb\nURIs: ${found.uri}\nSuites: ${next}\nComponents: main\n${found.signedBy}`;
  }
  return undefined;
}

/** deb822. @param {string} text @param {string} release @returns {{ uri: string, signedBy: string } | undefined} */
function fromStanzas(text, release) {
  for (const stanza of text.split(/\n\s*\n/)) {
    const field = (/** @type {string} */ name) => new RegExp(`^${name}:[ \\t]*(.+)$`, 'mi').exec(stanza)?.[1]?.trim();
    const uri = field('URIs')?.split(/\s+/)[0];
    if (uri === undefined || !field('Suites')?.split(/\s+/).includes(release)) continue;
    const signedBy = field('Signed-By');
    return { uri, signedBy: signedBy?.startsWith('/') ? `Signed-By: ${signedBy}\n` : '' };
  }
  return undefined;
}

/** One line each. @param {string} text @param {string} release @returns {{ uri: string, signedBy: string } | undefined} */
function fromLines(text, release) {
  for (const line of text.split('\n')) {
    const [, options = '', uri, suite] = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+.*\bmain\b/.exec(line) ?? [];
    if (uri === undefined || suite !== release) continue;
    const signedBy = /signed-by=(\/\S+)/.exec(options)?.[1];
    return { uri, signedBy: signedBy ? `Signed-By: ${signedBy}\n` : '' };
  }
  return undefined;
}

/** @param {string} root */
function cacheFolder(root) {
  return join(root, 'node_modules', '.cache', 'gatehouse-tpm');
}

function systemModules() {
  const folders = existsSync('/usr/lib') ? readdirSync('/usr/lib').filter((name) => name.includes('-linux-')) : [];
  return folders.map((name) => join('/usr/lib', name, 'ossl-modules', 'tpm2.so'));
}

/** Version 1.2 or later, as it stands in the module. @param {string} path */
function isRecent(path) {
  if (!existsSync(path)) return false;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: strings in a shared object end with a zero octet.
  const [, major = 0, minor = 0] = /\0(\d+)\.(\d+)\.\d+\0/.exec(readFileSync(path, 'latin1')) ?? [];
  return Number(major) > 1 || (Number(major) === 1 && Number(minor) >= 2);
}
