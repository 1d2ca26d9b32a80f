import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { countOption, portOption, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { PROJECT_ROOT } from './project-root.ts';

const GATEWAY_MAIN = join(PROJECT_ROOT, 'gateway', 'main.ts');

/** `gatehouse serve`: the gateway as a child process that ends when this one does. Its options pass through as given. */
export function serveCommand(): Command {
  return withExamples(
    new Command('serve')
      .description('run the gateway; its first start makes the root and the intermediate')
      .option('--host <address>', 'address to listen on (default: 0.0.0.0)')
      .option(
        '--public-host <name>',
        'name or address under which devices reach it (default: its first outside address)',
      )
      .option('--name <name>', 'further name or address for its certificate; may be given again', collect, [])
      .option('--est-port <port>', 'EST over HTTPS (default: 8443; 0 picks a free one)', portOption)
      .option('--mqtt-port <port>', 'MQTT over mutual TLS (default: 8883)', portOption)
      .option('--status-port <port>', 'CRL, CA certificates, metrics, health over HTTP (default: 8080)', portOption)
      .option('--operator-port <port>', 'operator API over HTTPS (default: 9443)', portOption)
      .option('--ready-file <file>', 'write ports, URLs and the root fingerprint here as JSON when it can serve')
      .option('--trust-domain <domain>', 'SPIFFE trust domain of a new authority (default: gatehouse.internal)')
      .option('--ca-socket <path>', 'use an authority that runs already, instead of starting one')
      .option('--crl-hours <hours>', 'how long a CRL is good for (default: 24)', countOption)
      .option(
        '--crl-shards <n>',
        'lists that revocations are spread over, 1 to 256 (default: 1, the whole list)',
        countOption,
      )
      .option('--log-level <level>', 'debug, info, warn or error (default: info)'),
    'gatehouse serve --data /var/lib/gatehouse --public-host gateway.plant.example',
    'gatehouse serve --host 127.0.0.1 --est-port 0 --mqtt-port 0 --status-port 0 --operator-port 0 --ready-file ready.json',
  ).action(async (_: unknown, command: Command) => {
    process.exitCode = await runGateway(gatewayArguments(command));
  });
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

/** The options as the user gave them, plus the data folder, in the gateway's own words. */
function gatewayArguments(command: Command): string[] {
  const { data } = command.optsWithGlobals<{ data?: string }>();
  const given = command.options.flatMap((option) => {
    const value: unknown = command.getOptionValue(option.attributeName());
    const values = Array.isArray(value) ? value : value === undefined ? [] : [value];
    return values.flatMap((one) => [option.long ?? '', String(one)]);
  });
  return ['--data', dataFolder(data), ...given];
}

/** @returns the exit code of the gateway. */
function runGateway(args: readonly string[]): Promise<number> {
  // The channel closes when this process ends, even by SIGKILL: the gateway then shuts down by itself.
  const child = spawn(process.execPath, [GATEWAY_MAIN, ...args], { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] });
  const forward = (signal: NodeJS.Signals) => {
    // A terminal sends Ctrl-C to the whole group: the gateway has it already.
    if (signal === 'SIGINT' && process.stdin.isTTY) return;
    child.kill(signal);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, forward);
  // Whoever started us (the demo, a test) may have tied us to itself in the same way.
  process.on('disconnect', () => child.kill('SIGTERM'));
  process.channel?.unref();
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
}
