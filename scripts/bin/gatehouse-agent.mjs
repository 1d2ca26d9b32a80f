#!/usr/bin/env node
import { startProgram } from '#scripts/set-up/start-program.mjs';

await startProgram('device-agent/main.ts');
