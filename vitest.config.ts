import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Real processes, sockets and databases: a process of its own per file, and few of them at once.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 90_000,
    hookTimeout: 120_000,
    // An unhandled rejection anywhere is a failure of the run.
    dangerouslyIgnoreUnhandledErrors: false,
  },
});
