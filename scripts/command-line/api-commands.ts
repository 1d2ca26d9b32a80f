import type { Command } from 'commander';
import { commandGroup, type GlobalOptions, withExamples } from './command-options.ts';
import { dataFolder } from './data-folder.ts';
import { connectOperator } from './operator-client.ts';
import { printJson } from './output.ts';

/** `gatehouse api ...`: what other programs can rely on, for generators and for those who write a client. */
export function apiCommands(): Command {
  const api = commandGroup('api', 'what other programs can rely on, as a document in JSON');
  const print = (name: 'mqtt' | 'operator', description: string, ...examples: string[]) =>
    withExamples(api.command(name).description(description), ...examples).action(
      async (_: unknown, command: Command) => {
        const { data } = command.optsWithGlobals<GlobalOptions>();
        const operator = await connectOperator(dataFolder(data));
        printJson(await operator.describe(name));
      },
    );
  print(
    'mqtt',
    'topics and payloads of devices over MQTT, as AsyncAPI 3; also at /asyncapi.json of the status door',
    'gatehouse api mqtt > asyncapi.json',
    "gatehouse api mqtt | jq '.components.schemas.AgentState'",
  );
  print(
    'operator',
    'calls of operators, as OpenAPI 3.1; also at /openapi.json of the operator door',
    'gatehouse api operator > openapi.json',
  );
  return api;
}
