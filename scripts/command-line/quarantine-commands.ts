import { Command } from 'commander';
import type { DeviceQuarantined, QuarantineReleased } from '#gateway/contract/alarm-api.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import { deviceIdArgument, type GlobalOptions, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { connectOperator } from './operator-client.ts';
import { printJson, say } from './output.ts';

type ReasonOptions = GlobalOptions & { reason: string };

/** `gatehouse device quarantine` */
export function quarantineCommand(): Command {
  return withExamples(
    new Command('quarantine')
      .description('drop its telemetry and renew nothing, but keep it connected, until it is decided what is with it')
      .argument('<id>', 'name of the device', deviceIdArgument)
      .requiredOption('--reason <text>', 'why; the device is told, and it stands in the audit'),
    'gatehouse device quarantine press-07 --reason "its card was copied in the workshop"',
  ).action(async (id: DeviceId, _: unknown, command: Command) => {
    const { data, json, reason } = command.optsWithGlobals<ReasonOptions>();
    const operator = await connectOperator(dataFolder(data));
    const done = await operator.call<DeviceQuarantined>('quarantineDevice', { params: [id], body: { reason } });
    if (json) {
      printJson(done);
      return;
    }
    say(`${id} is in quarantine: ${done.sessionsLimited === 0 ? 'it is not connected' : 'its session was limited'}`);
    say(`To end it: gatehouse device release-quarantine ${id} --reason TEXT; or revoke the device`);
  });
}

/** `gatehouse device release-quarantine` */
export function releaseQuarantineCommand(): Command {
  return withExamples(
    new Command('release-quarantine')
      .description('end its quarantine and the open alarms about it')
      .argument('<id>', 'name of the device', deviceIdArgument)
      .requiredOption('--reason <text>', 'what was found out; stands in the audit'),
    'gatehouse device release-quarantine press-07 --reason "restored from a backup, no copy"',
  ).action(async (id: DeviceId, _: unknown, command: Command) => {
    const { data, json, reason } = command.optsWithGlobals<ReasonOptions>();
    const operator = await connectOperator(dataFolder(data));
    const body = { decision: reason };
    const done = await operator.call<QuarantineReleased>('releaseQuarantine', { params: [id], body });
    if (json) printJson(done);
    else say(`${id} is out of quarantine; ${done.alarms.length} alarm(s) resolved. A copy that lives raises it again`);
  });
}
