import type { Command } from 'commander';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { CertificateDetail, CertificateState, CertificateSummary } from '#gateway/contract/operator-api.ts';
import { CERTIFICATE_STATES } from '#gateway/contract/operator-api.ts';
import { commandGroup, deviceIdArgument, type GlobalOptions, oneOf, usage, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { formatTime } from './format-time.ts';
import { connectOperator } from './operator-client.ts';
import { print, printFields, printJson, printTable } from './output.ts';

/** As openssl prints it (upper case, colons) or as we do. */
const serialArgument = usage((text: string) => {
  const serial = text.replaceAll(':', '').toLowerCase();
  if (!/^[0-9a-f]{1,40}$/.test(serial)) throw new RangeError('a serial is 1 to 40 hexadecimal digits');
  return serial;
});

type ListOptions = GlobalOptions & { state?: CertificateState; device?: DeviceId };

/** `gatehouse certificate ...` */
export function certificateCommands(): Command {
  const certificate = commandGroup('certificate', 'look at the certificates that were issued');

  withExamples(
    certificate
      .command('list')
      .description('certificates, newest first')
      .option('--state <state>', `only ${CERTIFICATE_STATES.join(', ')}`, oneOf(CERTIFICATE_STATES, 'a state'))
      .option('--device <id>', 'only those of this device', deviceIdArgument),
    'gatehouse certificate list --state active',
  ).action(async (_: unknown, command: Command) => {
    const { data, json, state, device } = command.optsWithGlobals<ListOptions>();
    const operator = await connectOperator(dataFolder(data));
    const list = await operator.list<CertificateSummary & { deviceId?: string | null }>('listCertificates', {
      state,
      deviceId: device,
    });
    if (json) {
      printJson(list);
      return;
    }
    const now = Date.now();
    printTable(
      ['serial', 'device', 'state', 'profile', 'from', 'until'],
      list.map((entry) => [
        entry.serial,
        entry.deviceId ?? '-',
        entry.state,
        entry.profile,
        formatTime(entry.notBefore, now),
        formatTime(entry.notAfter, now),
      ]),
      'no such certificates',
    );
  });

  withExamples(
    certificate
      .command('show')
      .description('one certificate')
      .argument('<serial>', 'serial number, hexadecimal', serialArgument)
      .option('--pem', 'print the certificate itself'),
    'gatehouse certificate show 4f21... --pem | openssl x509 -noout -text',
  ).action(async (serial: string, _: unknown, command: Command) => {
    const { data, json, pem } = command.optsWithGlobals<GlobalOptions & { pem?: boolean }>();
    const operator = await connectOperator(dataFolder(data));
    const detail = await operator.call<CertificateDetail>('showCertificate', { params: [serial] });
    if (json) printJson(detail);
    else if (pem) print(detail.pem.trimEnd());
    else printCertificate(detail, Date.now());
  });

  return certificate;
}

function printCertificate(detail: CertificateDetail, now: number): void {
  printFields({
    serial: detail.serial,
    device: detail.deviceId ?? undefined,
    state: detail.state,
    profile: detail.profile,
    'proof level': detail.proofLevel ?? undefined,
    from: formatTime(detail.notBefore, now),
    until: formatTime(detail.notAfter, now),
    revoked:
      detail.revokedAt === null
        ? undefined
        : `${formatTime(detail.revokedAt, now)}: ${detail.revocationReason ?? 'unspecified'}`,
    'SHA-256': detail.sha256,
    'SHA-256 of the key': detail.spkiSha256,
    'issuer key id': detail.issuerKeyId,
  });
}
