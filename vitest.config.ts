import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Real processes, sockets and databases: a process of its own per file, and few of them at once.
    pool: 'forks',
    maxWorkers: 2,
    globalSetup: 'test/fixtures/gateway/ceremony-folder.ts',
    // The programs that tests start are the same few hundred modules each time: Node keeps them as it has compiled them.
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, 'node_modules', '.cache', 'gatehouse-compiled') },
    // Speed is measured by `npm run bench`. These end what would never end, on however slow a machine.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    expect: { poll: { timeout: 180_000, interval: 20 } },
    // An unhandled rejection anywhere is a failure of the run.
    dangerouslyIgnoreUnhandledErrors: false,
  },
});
