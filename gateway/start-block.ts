import { join } from 'node:path';
import type { ReadyFile } from '#gateway/contract/data-folder.ts';
import type { GatewayConfig } from './config.ts';

/** What a person sees when the gateway is up: where everything is and what to type next. */
export function formatStartBlock(ready: ReadyFile, config: GatewayConfig): string {
  const data = config.data === join(process.cwd(), 'data') ? '' : ` --data ${quote(config.data)}`;
  const rows = [
    ['EST', ready.est.url],
    ['MQTT', ready.mqtt.url],
    ['Status', ready.status.url],
    ['Operator', `${ready.operator.url}  (and the gatehouse command on this host)`],
    ['Root SHA-256', ready.rootSha256],
    ['Data', ready.dataDir],
  ];
  return [
    '',
    'Gatehouse is ready.',
    '',
    ...rows.map(([name = '', value = '']) => `  ${name.padEnd(13)} ${value}`),
    '',
    `Next: npx gatehouse device add my-device${data}`,
    '',
  ].join('\n');
}

function quote(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replace(/'/g, `'\\''`)}'`;
}
