import { Command } from 'commander';
import type { ClaimFile } from '#gateway/contract/claim-file.ts';
import type { DeviceId } from '#gateway/contract/device-id.ts';
import type { TicketClaimed } from '#gateway/contract/operator-api.ts';
import { MAX_CLAIM_SECONDS } from '#gateway/contract/operator-paths.ts';
import { CommandError } from './command-error.ts';
import { countOption, deviceIdArgument, type GlobalOptions, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { formatTime } from './format-time.ts';
import { fillNewFile } from './new-file.ts';
import { connectOperator, type OperatorClient } from './operator-client.ts';
import { print, printFields, printJson, say } from './output.ts';
import { readCsrFile } from './read-csr-file.ts';

type ClaimOptions = GlobalOptions & { out?: string; minutes?: number; hours?: number; csr?: string };
type Claim = (csr: Buffer) => Promise<TicketClaimed>;

/** `gatehouse ticket claim` */
export function claimCommand(): Command {
  return withExamples(
    new Command('claim')
      .description('turn the open ticket of a device into a key and a short-lived certificate that may only enroll')
      .argument('<device>', 'name of the device', deviceIdArgument)
      .option('--out <file>', 'the claim file to make, with the key in it (0600); with --csr: the certificates alone')
      .option('--minutes <count>', 'how long it is good, at most 60 (default: 60)', countOption)
      .option('--hours <count>', 'the same in hours: 1', countOption)
      .option('--csr <file>', 'certify the key of this request (PEM or DER) instead of making one; prints PEM'),
    'gatehouse ticket claim press-07 --out press-07.claim --minutes 15',
    'gatehouse ticket claim press-07 --csr press-07.csr --out press-07.pem',
  ).action(async (deviceId: DeviceId, _: unknown, command: Command) => {
    const { data, json, out, csr, ...life } = command.optsWithGlobals<ClaimOptions>();
    const seconds = secondsOf(life);
    if (csr === undefined && out === undefined) {
      throw new CommandError('USAGE', 'a claim holds a private key: name the file to make with --out', {
        advice: 'or keep the key where it is and give its request with --csr FILE',
      });
    }
    const operator = await connectOperator(dataFolder(data));
    const claim = claimWith(operator, deviceId, seconds);
    if (csr !== undefined) await claimForRequest(claim, csr, out, json);
    else if (out !== undefined) await claimForNewKey(claim, deviceId, out, json);
  });
}

function claimWith(operator: OperatorClient, deviceId: DeviceId, seconds: number): Claim {
  return (csr) =>
    operator.call<TicketClaimed>('claimTicket', {
      params: [deviceId],
      body: { csr: csr.toString('base64'), seconds },
    });
}

function secondsOf({ minutes, hours }: Pick<ClaimOptions, 'minutes' | 'hours'>): number {
  if (minutes !== undefined && hours !== undefined) throw new CommandError('USAGE', 'give --minutes or --hours');
  const seconds = minutes !== undefined ? minutes * 60 : (hours ?? 1) * 3600;
  if (seconds > MAX_CLAIM_SECONDS) throw new CommandError('USAGE', 'a claim is good for one hour at most');
  return seconds;
}

async function claimForNewKey(
  claim: Claim,
  deviceId: DeviceId,
  path: string,
  json: boolean | undefined,
): Promise<void> {
  // Loaded when it is needed: it brings the whole certificate generator, which other commands do without.
  const { makeClaimKey } = await import('./make-claim-key.ts');
  const claimed = await fillNewFile(path, 0o600, async () => {
    const { privateKey, csr } = await makeClaimKey(deviceId);
    const result = await claim(csr);
    return { result, text: `${JSON.stringify(claimFileOf(deviceId, result, privateKey), null, 2)}\n` };
  });
  if (json) {
    printJson({ file: path, ...claimed });
    return;
  }
  printClaimed(claimed, path);
  say('It holds a private key. Carry it to the device and type there:');
  say(`  gatehouse-agent enroll ${path} --via mqtt`);
}

async function claimForRequest(
  claim: Claim,
  csr: string,
  path: string | undefined,
  json: boolean | undefined,
): Promise<void> {
  const make = async () => {
    const result = await claim(await readCsrFile(csr));
    return { result, text: certificatesOf(result) };
  };
  const claimed = path === undefined ? (await make()).result : await fillNewFile(path, 0o644, make);
  if (json) printJson(path === undefined ? claimed : { file: path, ...claimed });
  else if (path === undefined) print(certificatesOf(claimed).trimEnd());
  else printClaimed(claimed, path);
}

function claimFileOf(deviceId: DeviceId, claimed: TicketClaimed, privateKey: string): ClaimFile {
  return {
    kind: 'gatehouse-claim',
    version: 1,
    deviceId,
    trustDomain: claimed.trustDomain,
    est: claimed.est,
    mqtt: claimed.mqtt,
    root: claimed.root,
    certificates: certificatesOf(claimed),
    privateKey,
    expiresAt: claimed.notAfter,
  };
}

/** PEM: the certificate and its issuers, as a TLS client sends them: without the root. */
function certificatesOf({ certificate, chain, root }: TicketClaimed): string {
  const sent = [certificate, ...chain.filter((pem) => pem.trim() !== root.trim())];
  return `${sent.map((pem) => pem.trim()).join('\n')}\n`;
}

function printClaimed(claimed: TicketClaimed, path: string): void {
  printFields({
    device: claimed.deviceId,
    ticket: claimed.ticketId,
    certificate: claimed.serial,
    'good until': formatTime(claimed.notAfter, Date.now()),
    file: path,
  });
}
