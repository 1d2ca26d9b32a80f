import type { DoorAddress } from '#gateway/contract/data-folder.ts';
import type { GatewayConfig } from './config.ts';

/** Where devices and people reach a door of this machine. */
export function addressOf(scheme: string, { publicHost }: GatewayConfig, port: number): DoorAddress {
  return {
    host: publicHost,
    port,
    url: `${scheme}://${publicHost.includes(':') ? `[${publicHost}]` : publicHost}:${port}`,
  };
}
