import type { Command } from 'commander';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type {
  DeviceAdded,
  DeviceDetail,
  DeviceRevoked,
  DeviceSummary,
  HardwareReplaced,
  RenewOrdered,
} from '#gateway/contract/operator-api.ts';
import { commandGroup, deviceIdArgument, type GlobalOptions, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { holdCommand, releaseCommand } from './hold-commands.ts';
import { importCommand } from './import-command.ts';
import { connectOperator } from './operator-client.ts';
import { printJson, printTable, say } from './output.ts';
import { quarantineCommand, releaseQuarantineCommand } from './quarantine-commands.ts';
import { REVOCATION_REASONS, type RevocationReason, revocationReasonOption } from './revocation-reason.ts';
import { printDevice, printDeviceAdded, showCertificateEnd } from './show-device.ts';

type AddOptions = GlobalOptions & { group?: string; hardwareSerial?: string; owner?: string; newTicket?: boolean };

/** `gatehouse device ...` */
export function deviceCommands(): Command {
  const device = commandGroup('device', 'register devices, look at them, renew, revoke and retire them');

  withExamples(
    device
      .command('add')
      .description('register a device; prints its ticket and join URL once')
      .argument('<id>', 'name of the device', deviceIdArgument)
      .option('--group <group>', 'group whose policy it follows (default: default)')
      .option('--hardware-serial <serial>', 'serial number on its plate; stands in its certificates')
      .option('--owner <owner>', 'who answers for it')
      .option('--new-ticket', 'another ticket for a device that is registered already'),
    'gatehouse device add press-07 --group line-3 --owner maintenance',
    'gatehouse device add press-07 --new-ticket',
  ).action(async (id: DeviceId, _: unknown, command: Command) => {
    const { data, json, newTicket, ...rest } = command.optsWithGlobals<AddOptions>();
    const operator = await connectOperator(dataFolder(data));
    const { group, hardwareSerial, owner } = rest;
    const added = newTicket
      ? await operator.call<DeviceAdded>('addTicket', { params: [id], body: {} })
      : await operator.call<DeviceAdded>('addDevice', { body: { deviceId: id, group, hardwareSerial, owner } });
    if (json) printJson(added);
    else printDeviceAdded(added, Date.now());
  });

  withExamples(
    device
      .command('list')
      .description('all devices: group, state, connection, end of the certificate')
      .option('--group <group>', 'only those of this group'),
    'gatehouse device list --group line-3',
    "gatehouse device list --json | jq -r '.[] | select(.connected | not) | .deviceId'",
  ).action(async (_: unknown, command: Command) => {
    const { data, json, group } = command.optsWithGlobals<GlobalOptions & { group?: string }>();
    const operator = await connectOperator(dataFolder(data));
    const all = await operator.list<DeviceSummary>('listDevices');
    const devices = group === undefined ? all : all.filter((entry) => entry.group === group);
    if (json) {
      printJson(devices);
      return;
    }
    const now = Date.now();
    printTable(
      ['device', 'group', 'state', 'connected', 'proof', 'certificate ends', 'owner'],
      devices.map((entry) => [
        entry.deviceId,
        entry.group,
        entry.state,
        entry.connected ? 'yes' : 'no',
        entry.proofLevel,
        showCertificateEnd(entry.notAfter, now),
        entry.owner ?? '-',
      ]),
      'no devices yet; the first: gatehouse device add ID',
    );
  });

  withExamples(
    device
      .command('show')
      .description('one device: certificates, session, notices')
      .argument('<id>', 'name of the device', deviceIdArgument),
    'gatehouse device show press-07',
    "gatehouse device show press-07 --json | jq '.session'",
  ).action(async (id: DeviceId, _: unknown, command: Command) => {
    const { data, json } = command.optsWithGlobals<GlobalOptions>();
    const operator = await connectOperator(dataFolder(data));
    const detail = await operator.call<DeviceDetail>('showDevice', { params: [id] });
    if (json) printJson(detail);
    else printDevice(detail, Date.now());
  });

  withExamples(
    device
      .command('revoke')
      .description('revoke its certificates and close its live session')
      .argument('<id>', 'name of the device', deviceIdArgument)
      .requiredOption(
        '--reason <reason>',
        `one of ${REVOCATION_REASONS.join(', ')} (RFC 5280)`,
        revocationReasonOption,
      ),
    'gatehouse device revoke press-07 --reason keyCompromise',
  ).action(async (id: DeviceId, _: unknown, command: Command) => {
    const { data, json, reason } = command.optsWithGlobals<GlobalOptions & { reason: RevocationReason }>();
    const operator = await connectOperator(dataFolder(data));
    const revoked = await operator.call<DeviceRevoked>('revokeDevice', { params: [id], body: { reason } });
    if (json) {
      printJson(revoked);
      return;
    }
    printTable(
      ['revoked certificate'],
      revoked.serials.map((serial) => [serial]),
      'it had no valid certificate',
    );
    say(
      revoked.sessionsClosed === 0
        ? 'no session was open'
        : `${revoked.sessionsClosed} session(s) closed ${revoked.closedAfterMs} ms after the request`,
    );
    // Only a hint: the device is revoked, whether or not this can be asked.
    const device = await operator.call<DeviceDetail>('showDevice', { params: [id] }).catch(() => undefined);
    if (device?.state === 'revoked') say(`To let it in again: gatehouse device add ${id} --new-ticket`);
  });

  withExamples(
    device
      .command('renew')
      .description('tell the device, by a signed notice, to renew its certificate now')
      .argument('<id>', 'name of the device', deviceIdArgument)
      .option('--reason <text>', 'why; stands in the notice and the audit'),
    'gatehouse device renew press-07 --reason "new intermediate"',
  ).action(async (id: DeviceId, _: unknown, command: Command) => {
    const { data, json, reason } = command.optsWithGlobals<GlobalOptions & { reason?: string }>();
    const operator = await connectOperator(dataFolder(data));
    const ordered = await operator.call<RenewOrdered>('renewDevice', { params: [id], body: { reason } });
    if (json) printJson(ordered);
    else {
      const fate = ordered.delivered ? 'is on its way' : 'waits until the device connects';
      say(`notice ${ordered.noticeId} ${fate}; it asks to replace certificate ${ordered.serial}`);
      say(`See how it went: gatehouse device show ${id}`);
    }
  });

  withExamples(
    device
      .command('retire')
      .description('take a device out of service for good: its certificates are revoked, its name stays in the audit')
      .argument('<id>', 'name of the device', deviceIdArgument)
      .option('--reason <reason>', `one of ${REVOCATION_REASONS.join(', ')} (RFC 5280)`, revocationReasonOption),
    'gatehouse device retire press-07 --reason cessationOfOperation',
  ).action(async (id: DeviceId, _: unknown, command: Command) => {
    const { data, json, reason } = command.optsWithGlobals<GlobalOptions & { reason?: RevocationReason }>();
    const operator = await connectOperator(dataFolder(data));
    const retired = await operator.call('retireDevice', { params: [id], body: { reason } });
    if (json) printJson(retired);
    else say(`${id} is retired`);
  });

  withExamples(
    device
      .command('replace-hardware')
      .description(
        'another hardware takes this name: its certificates are revoked, its TPM is forgotten, a new ticket is made',
      )
      .argument('<id>', 'name of the device', deviceIdArgument)
      .option(
        '--hardware-serial <serial>',
        'serial number of the new hardware; `none` when it has none (default: as before)',
      ),
    'gatehouse device replace-hardware press-07 --hardware-serial SN-0008',
  ).action(async (id: DeviceId, _: unknown, command: Command) => {
    const { data, json, hardwareSerial } = command.optsWithGlobals<GlobalOptions & { hardwareSerial?: string }>();
    const operator = await connectOperator(dataFolder(data));
    const body = { hardwareSerial: hardwareSerial === 'none' ? null : hardwareSerial };
    const replaced = await operator.call<HardwareReplaced>('replaceHardware', { params: [id], body });
    if (json) {
      printJson(replaced);
      return;
    }
    const forgotten = replaced.previousEkSha256 === null ? '' : `, TPM ${replaced.previousEkSha256} forgotten`;
    say(`${replaced.serials.length} certificate(s) revoked, ${replaced.sessionsClosed} session(s) closed${forgotten}`);
    printDeviceAdded(replaced, Date.now());
  });

  device.addCommand(holdCommand());
  device.addCommand(releaseCommand());
  device.addCommand(quarantineCommand());
  device.addCommand(releaseQuarantineCommand());
  device.addCommand(importCommand());

  return device;
}
