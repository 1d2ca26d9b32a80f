/** What a group's webhook is asked before a certificate is issued. JSON by POST. */
export type PolicyQuestion = {
  version: 1;
  attemptId: string;
  kind: 'enroll' | 'reenroll';
  deviceId: string;
  group: string;
  owner: string | null;
  hardwareSerial: string | null;
  grounds: string;
  address: string;
  keyKind: string;
  spkiSha256: string;
  proofLevel: string;
};

export type PolicyVerdict = { decision: 'allow' | 'deny' | 'ask a person'; reason: string | null };

/** Somebody else's say in the matter. */
export interface PolicyWebhook {
  /** Rejects when there is no answer that can be believed within the deadline: then the request is not granted. */
  ask(url: string, question: PolicyQuestion): Promise<PolicyVerdict>;
}
