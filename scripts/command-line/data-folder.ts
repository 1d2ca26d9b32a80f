import { resolve } from 'node:path';

/** `--data`, else GATEHOUSE_DATA, else ./data. @returns an absolute path */
export function dataFolder(option: string | undefined): string {
  return resolve(option ?? (process.env['GATEHOUSE_DATA'] || 'data'));
}
