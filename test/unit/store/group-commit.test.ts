import { describe, expect, it } from 'vitest';
import type { Tables } from '#gateway/ports/store.ts';
import { GroupCommit, type WriteConnection } from '#gateway/store/group-commit.ts';

/** Writes down what it was told, and breaks where the test says. */
class ScriptedConnection implements WriteConnection {
  readonly calls: string[] = [];
  readonly breaks = new Map<string, Error>();
  inTransaction = false;

  #call(name: string): void {
    this.calls.push(name);
    const failure = this.breaks.get(name);
    this.breaks.delete(name);
    if (failure !== undefined) throw failure;
  }
  begin(): void {
    this.#call('begin');
    this.inTransaction = true;
  }
  commit(): void {
    this.#call('commit');
    this.inTransaction = false;
  }
  rollback(): void {
    this.#call('rollback');
    this.inTransaction = false;
  }
  savepoint(): void {
    this.#call('savepoint');
  }
  releaseSavepoint(): void {
    this.#call('release');
  }
  rollbackToSavepoint(): void {
    this.#call('back to savepoint');
  }
}

function groupCommit(connection: WriteConnection, change: { batchSize?: number; workLimitMs?: number } = {}) {
  return new GroupCommit(connection, openTables, { batchSize: 10, workLimitMs: 1000, ...change });
}

/** The works of these tests use no tables. */
function openTables() {
  return { tables: {} as Tables, end: () => undefined };
}

const work = (connection: ScriptedConnection, name: string) => async () => {
  connection.calls.push(name);
  return name;
};

describe('group commit', () => {
  it('puts works that wait together under one commit, each inside its own savepoint', async () => {
    const connection = new ScriptedConnection();
    const commits = groupCommit(connection);
    const results = await Promise.all(['a', 'b'].map((name) => commits.write(work(connection, name))));
    expect(results).toEqual(['a', 'b']);
    expect(connection.calls.join(', ')).toBe('begin, savepoint, a, release, savepoint, b, release, commit');
  });

  it('takes back a failing work alone', async () => {
    const connection = new ScriptedConnection();
    const commits = groupCommit(connection);
    const results = await Promise.allSettled([
      commits.write(work(connection, 'a')),
      commits.write(() => Promise.reject(new Error('no'))),
      commits.write(work(connection, 'c')),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(connection.calls.join(', ')).toBe(
      'begin, savepoint, a, release, savepoint, back to savepoint, savepoint, c, release, commit',
    );
  });

  it('settles nobody before the commit, not even a work that failed', async () => {
    const connection = new ScriptedConnection();
    const commits = groupCommit(connection);
    const settled = (name: string) => () => void connection.calls.push(`settled ${name}`);
    await Promise.allSettled([
      commits.write(work(connection, 'a')).finally(settled('a')),
      commits.write(() => Promise.reject(new Error('no'))).catch(settled('b')),
      commits.write(async () => new Promise((resolve) => setTimeout(resolve, 5))).finally(settled('c')),
    ]);
    expect(connection.calls.slice(connection.calls.indexOf('commit'))).toEqual([
      'commit',
      'settled a',
      'settled b',
      'settled c',
    ]);
  });

  it('rejects every work of a commit that failed as unavailable, also one that had failed over them, and goes on', async () => {
    const connection = new ScriptedConnection();
    const commits = groupCommit(connection);
    connection.breaks.set('commit', new Error('disk I/O error'));
    const results = await Promise.allSettled([
      commits.write(work(connection, 'a')),
      commits.write(() => Promise.reject(new Error('a is there already'))),
    ]);
    for (const result of results) {
      expect(result).toMatchObject({
        status: 'rejected',
        reason: { code: 'UNAVAILABLE', message: expect.stringContaining('disk I/O error') },
      });
    }
    expect(connection.calls.at(-1)).toBe('rollback');
    expect(await commits.write(work(connection, 'c'))).toBe('c');
  });

  it.each(['begin', 'savepoint', 'release', 'back to savepoint'])('rejects the batch when %s fails', async (step) => {
    const connection = new ScriptedConnection();
    const commits = groupCommit(connection);
    connection.breaks.set(step, new Error('database is locked'));
    const results = await Promise.allSettled([
      commits.write(() => Promise.reject(new Error('no'))),
      commits.write(work(connection, 'b')),
    ]);
    for (const result of results)
      expect(result).toMatchObject({
        status: 'rejected',
        reason: { code: 'UNAVAILABLE', cause: { message: 'database is locked' } },
      });
    expect(connection.inTransaction).toBe(false);
    expect(connection.calls).not.toContain('commit');
  });

  it('rejects what came before when the database takes the whole transaction back in the middle', async () => {
    const connection = new ScriptedConnection();
    const commits = groupCommit(connection);
    const results = await Promise.allSettled([
      commits.write(work(connection, 'a')),
      commits.write(() => {
        connection.inTransaction = false;
        return Promise.reject(new Error('database or disk is full'));
      }),
    ]);
    for (const result of results) expect(result).toMatchObject({ status: 'rejected', reason: { code: 'UNAVAILABLE' } });
    expect(connection.calls).not.toContain('commit');
    expect(connection.calls).not.toContain('rollback');
  });

  it('does not let a work that swallows such an error pass as committed', async () => {
    const connection = new ScriptedConnection();
    const swallowed = groupCommit(connection).write(async () => {
      connection.inTransaction = false;
      return 'all is well';
    });
    await expect(swallowed).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('takes no more works into one commit than its size', async () => {
    const connection = new ScriptedConnection();
    const commits = groupCommit(connection, { batchSize: 3 });
    await Promise.all(['a', 'b', 'c', 'd'].map((name) => commits.write(work(connection, name))));
    expect(connection.calls.filter((call) => call === 'commit' || call.length === 1).join('')).toBe('abccommitdcommit');
  });

  it('gives up a work that does not end, and lets the next one through', async () => {
    const connection = new ScriptedConnection();
    const commits = groupCommit(connection, { workLimitMs: 200 });
    const [endless, next] = await Promise.allSettled([
      commits.write(() => new Promise(() => undefined)),
      commits.write(work(connection, 'next')),
    ]);
    expect(endless).toMatchObject({ status: 'rejected', reason: { code: 'UNAVAILABLE' } });
    expect(next).toEqual({ status: 'fulfilled', value: 'next' });
  });
});
