import { Command } from 'commander';
import { ControlClient } from './control/control-client.ts';
import { AgentError } from './domain/agent-error.ts';
import { LAYOUT } from './state/state-layout.ts';
import { enterStateFolder, stateOption } from './state-folder.ts';
import { print, say } from './terminal.ts';

export function publishCommand(): Command {
  return new Command('publish')
    .description("publish telemetry through the running agent's session, QoS 1")
    .argument('<subtopic>', 'below v1/d/DEVICE-ID/out/data/')
    .argument('<payload>', 'text')
    .addOption(stateOption())
    .addHelpText('after', '\nExample:\n  $ gatehouse-agent publish temperature \'{"celsius": 21.5}\'')
    .action(publish);
}

async function publish(subtopic: string, payload: string, options: { state: string }): Promise<void> {
  const client = await connectToAgent(options.state);
  try {
    const { topic } = (await client.request({ op: 'publish', subtopic, payload })) as { topic: string };
    say(`published on ${topic}`);
  } finally {
    client.close();
  }
}

export function listenCommand(): Command {
  return new Command('listen')
    .description("print messages as JSON lines {topic, payload} from the running agent's session")
    .argument('<topic-filter>', 'below v1/d/DEVICE-ID/in/data/, or a whole filter that starts with v1/')
    .addOption(stateOption())
    .option('--count <n>', 'end after this many messages')
    .option('--timeout <seconds>', 'end after this time; exit code 1 when --count was not reached')
    .addHelpText('after', "\nExample:\n  $ gatehouse-agent listen '#' --count 1 --timeout 30")
    .action(listen);
}

type ListenOptions = { state: string; count?: string; timeout?: string };

async function listen(filter: string, options: ListenOptions): Promise<void> {
  const count = parsePositive(options.count, '--count') ?? Number.POSITIVE_INFINITY;
  const seconds = parsePositive(options.timeout, '--timeout');
  const client = await connectToAgent(options.state);
  let seen = 0;
  client.onMessage(({ kind: _kind, ...message }) => {
    if (seen >= count) return;
    print(JSON.stringify(message));
    seen += 1;
    if (seen >= count) client.close();
  });
  await client.request({ op: 'listen', filter });
  say('listening');
  const end = () => client.close();
  process.once('SIGINT', end).once('SIGTERM', end);
  const timer = seconds === undefined ? undefined : setTimeout(end, seconds * 1000);
  await client.closed;
  clearTimeout(timer);
  process.off('SIGINT', end).off('SIGTERM', end);
  if (Number.isFinite(count) && seen < count) process.exitCode = 1;
}

async function connectToAgent(state: string): Promise<ControlClient> {
  await enterStateFolder(state, { create: false });
  const client = await ControlClient.connect(LAYOUT.controlSocket);
  if (client) return client;
  throw new AgentError('AGENT_NOT_RUNNING', 'no agent runs on this state folder', {
    advice: `start it: gatehouse-agent run --state ${state}`,
  });
}

function parsePositive(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (!(number > 0)) throw new AgentError('USAGE', `${option} is a number above 0`);
  return number;
}
