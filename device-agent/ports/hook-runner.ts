export type HookResult = {
  /** null when it was killed or could not be started. */
  exitCode: number | null;
  timedOut: boolean;
};

/** The owner's command when a file has changed, e.g. to reload a service that uses the certificate. */
export interface HookRunner {
  /** Never rejects: a failing hook does not undo a renewal. @param facts given to it as environment variables. */
  run(facts: Record<string, string>): Promise<HookResult>;
}
