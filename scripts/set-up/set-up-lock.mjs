import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SetUpError, say } from './set-up-error.mjs';

// In the project, not in node_modules, which `npm ci` removes; not in /tmp, which others can write.
const LOCK_FILE = '.setup.lock';
const POLL_MS = 250;
/** Longer than the slowest `npm ci` and apt together; past it the holder hangs and a person must look. */
const GIVE_UP_MS = 15 * 60_000;

/**
 * One set-up at a time in one checkout: a second one waits, then finds the work done.
 * The lock of a process that is gone is taken over.
 *
 * @template T
 * @param {string} root
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withSetUpLock(root, work) {
  const path = join(root, LOCK_FILE);
  await acquire(path);
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

/** @param {string} path */
async function acquire(path) {
  const deadline = performance.now() + GIVE_UP_MS;
  // Written aside and linked into place, so a lock always names its holder.
  const mine = `${path}.${process.pid}`;
  writeFileSync(mine, String(process.pid));
  try {
    for (let waits = 0; !isLinked(mine, path); ) {
      const holder = readHolder(path);
      if (holder === undefined) continue;
      if (!isAlive(holder)) {
        takeAway(path, holder);
        continue;
      }
      if (waits++ === 0) say(`waiting for another set-up of this checkout (pid ${holder}) ...`);
      if (performance.now() > deadline) {
        throw new SetUpError(
          `another set-up has held ${path} for too long`,
          `end it, or remove ${path}, and try again`,
        );
      }
      await delay(POLL_MS);
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

/** @param {string} from @param {string} to @returns {boolean} false when there is a lock already */
function isLinked(from, to) {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

/** @param {string} path @returns {number | undefined} undefined when the lock was given back meanwhile */
function readHolder(path) {
  try {
    return Number(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/**
 * Renamed before it is removed, then looked at: when a third process has taken over meanwhile, it gets its lock back.
 * @param {string} path @param {number} holder
 */
function takeAway(path, holder) {
  const aside = `${path}.${process.pid}.stale`;
  try {
    renameSync(path, aside);
    if (readHolder(aside) !== holder) linkSync(aside, path);
  } catch {
    // Gone already: someone else took it away.
  } finally {
    rmSync(aside, { force: true });
  }
}
