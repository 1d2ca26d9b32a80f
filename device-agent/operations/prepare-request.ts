import { type AgentConfig, parseAgentConfig } from '#device-agent/domain/agent-config.ts';
import type { GenerationMeta } from '#device-agent/domain/generation-meta.ts';
import { planGenerations } from '#device-agent/domain/generation-plan.ts';
import type { KeyProvider } from '#device-agent/ports/key-provider.ts';
import type { StateStore } from '#device-agent/ports/state-store.ts';
import type { KeyKind } from '#gateway/contract/operator-api.ts';
import { loadGeneration, type PendingRequest } from './identity.ts';

export type PrepareDeps = { store: StateStore; keys: KeyProvider };

/** The key of an interrupted request of the same device, or a new one; on the disk before it is used. */
export async function prepareRequest(
  deps: PrepareDeps,
  wanted: { config: AgentConfig; anchors: Buffer[]; keyKind: KeyKind },
  now: number,
): Promise<{ request: PendingRequest; reused: boolean }> {
  const { store, keys } = deps;
  const { config, keyKind } = wanted;
  const plan = planGenerations(await store.listGenerations(), await store.currentGeneration());
  if (plan.candidate !== undefined) {
    const before = await findReusable(deps, plan.candidate, config, keyKind);
    if (before) return { request: before, reused: true };
    await store.removeGeneration(plan.candidate);
  }
  if (plan.current === undefined) {
    await store.writeTrust(wanted.anchors);
    await store.writeRecord('agent', config);
  }
  const key = await keys.generate(keyKind);
  const meta: GenerationMeta = { version: 1, keyKind, createdAt: now };
  const generation = await store.addGeneration(key.pem, meta);
  return { request: { generation, key, meta }, reused: false };
}

async function findReusable(
  deps: PrepareDeps,
  candidate: number,
  config: AgentConfig,
  keyKind: KeyKind,
): Promise<PendingRequest | undefined> {
  try {
    const before = parseAgentConfig(await deps.store.readRecord('agent'));
    const loaded = await loadGeneration(deps, candidate);
    // One with a certificate asks again too: the same key gets the same certificate, if it is still good.
    const request = loaded && ('pending' in loaded ? loaded.pending : loaded.identity);
    const isOurs = before.deviceId === config.deviceId && before.rootSha256 === config.rootSha256;
    return isOurs && request?.key.kind === keyKind ? request : undefined;
  } catch {
    return undefined;
  }
}
