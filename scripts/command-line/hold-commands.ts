import { Command } from 'commander';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { DeviceHeld, DeviceReleased } from '#gateway/contract/revocation-api.ts';
import { deviceIdArgument, type GlobalOptions, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { connectOperator } from './operator-client.ts';
import { printJson, say } from './output.ts';

/** `gatehouse device hold` */
export function holdCommand(): Command {
  return withExamples(
    new Command('hold')
      .description('take a device off the air until it is released: certificateHold, session closed, no renewal')
      .argument('<id>', 'name of the device', deviceIdArgument)
      .requiredOption('--reason <text>', 'why; the device is told, and it stands in the audit'),
    'gatehouse device hold press-07 --reason "lent to the fair"',
  ).action(async (id: DeviceId, _: unknown, command: Command) => {
    const { data, json, reason } = command.optsWithGlobals<GlobalOptions & { reason: string }>();
    const operator = await connectOperator(dataFolder(data));
    const held = await operator.call<DeviceHeld>('holdDevice', { params: [id], body: { reason } });
    if (json) {
      printJson(held);
      return;
    }
    const session = held.sessionsClosed === 0 ? 'no session was open' : `session closed after ${held.closedAfterMs} ms`;
    say(`${id} is on hold: ${held.serials.length} certificate(s), ${session}`);
    say(`To let it in again, with the same certificate: gatehouse device release ${id}`);
  });
}

/** `gatehouse device release` */
export function releaseCommand(): Command {
  return withExamples(
    new Command('release')
      .description('end the hold of a device: it is let in again with the certificate it has')
      .argument('<id>', 'name of the device', deviceIdArgument),
    'gatehouse device release press-07',
  ).action(async (id: DeviceId, _: unknown, command: Command) => {
    const { data, json } = command.optsWithGlobals<GlobalOptions>();
    const operator = await connectOperator(dataFolder(data));
    const released = await operator.call<DeviceReleased>('releaseDevice', { params: [id], body: {} });
    if (json) printJson(released);
    else say(`${id} is released: ${released.serials.length} certificate(s) are good again`);
  });
}
