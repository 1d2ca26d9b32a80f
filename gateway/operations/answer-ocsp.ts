import { hash } from 'node:crypto';
import type { Certificate } from '#ca/pkix/certificate.ts';
import { PkixError } from '#ca/pkix/pkix-error.ts';
import type { SerialNumber } from '#ca/pkix/serial-number.ts';
import { type CertId, formatIssuerIds, type OcspRequest, parseOcspRequest } from '#ca/revocation/ocsp-request.ts';
import {
  type CertStatus,
  formatOcspError,
  formatOcspResponse,
  formatOcspResponseData,
  type OcspErrorName,
} from '#ca/revocation/ocsp-response.ts';
import { parseRevocationReason } from '#ca/revocation/reasons.ts';
import type { DenySet } from '#gateway/domain/deny-set.ts';
import { type KeptAnswer, OcspAnswers } from '#gateway/domain/ocsp-answers.ts';
import type { Clock } from '#gateway/ports/clock.ts';
import type { Metrics } from '#gateway/ports/metrics.ts';
import type { OcspSigner } from '#gateway/ports/ocsp-signer.ts';
import type { Store } from '#gateway/ports/store.ts';

export type OcspDeps = {
  store: Pick<Store, 'read'>;
  /** Serials shut out at this moment: known here before anything is read from the database. */
  denySet: Pick<DenySet, 'has'>;
  clock: Clock;
  metrics: Pick<Metrics, 'ocspAnswered'>;
};

/** One whose certificates are answered for, and the responder it has appointed. */
export type OcspIssuer = { keyId: string; certificate: Certificate; signer: () => OcspSigner };

export type OcspReply = {
  /** OCSPResponse. */
  der: Buffer;
  /** There when others may keep it as well. Times in milliseconds UTC. */
  kept?: { etag: string; lastModified: number; expires: number };
};

/** How long an answer is good for. Whoever holds one does not see a revocation for at most that long. */
const VALIDITY_MS = 3_600_000;
/** Some 1 KB each. */
const MAX_KEPT = 20_000;

/**
 * The OCSP responder (RFC 6960, RFC 9919). Answers come from the table of certificates, not from a CRL: a revocation
 * shows at once. What no row stands for is `unknown`. An expired certificate is answered as before its end: revoked
 * stays revoked, and the others are good as far as revocation goes, whose dates everybody checks anyhow.
 */
export class OcspResponder {
  readonly #deps: OcspDeps;
  readonly #answers = new OcspAnswers(MAX_KEPT);
  readonly #issuers = new Map<string, OcspIssuer>();

  constructor(deps: OcspDeps) {
    this.#deps = deps;
  }

  /** Whom it answers for; anybody else's certificates are not its business. */
  serve(issuers: readonly OcspIssuer[]): void {
    this.#issuers.clear();
    for (const issuer of issuers) {
      for (const id of formatIssuerIds(issuer.certificate)) this.#issuers.set(id, issuer);
    }
  }

  /** Their status has changed. */
  forget(serials: Iterable<string>): void {
    for (const serial of serials) this.#answers.forget(serial);
  }

  /** @param body DER of an OCSPRequest, or anything else */
  async answer(body: Buffer): Promise<OcspReply> {
    let request: OcspRequest;
    try {
      request = parseOcspRequest(body);
    } catch (error) {
      if (error instanceof PkixError) return this.#refuse('malformedRequest');
      throw error;
    }
    const [issuer, ...others] = new Set(request.certIds.map((certId) => this.#issuers.get(certId.issuer)));
    // RFC 6960 2.3, 4.2.2.2: an answer has one responder, and counts for the issuer that has appointed it: whoever verifies
    // one that is about another's certificates as well throws away the whole of it.
    if (issuer === undefined || others.length > 0) return this.#refuse('unauthorized');
    const [only, second] = request.certIds;
    if (only !== undefined && second === undefined && request.nonce === undefined)
      return this.#answerKept(issuer, only);
    const answers = [];
    for (const certId of request.certIds)
      answers.push({ certId: certId.der, status: await this.#judge(issuer, certId) });
    this.#deps.metrics.ocspAnswered(answers.length === 1 ? (answers[0]?.status.kind ?? '') : 'several', false);
    return { der: this.#sign(issuer.signer(), answers, request.nonce).der };
  }

  #refuse(error: OcspErrorName): OcspReply {
    this.#deps.metrics.ocspAnswered(error, false);
    return { der: formatOcspError(error) };
  }

  async #answerKept(issuer: OcspIssuer, certId: CertId): Promise<OcspReply> {
    const { clock, denySet, metrics } = this.#deps;
    const asked = certId.der.toString('latin1');
    const { serial } = certId;
    const kept = this.#answers.find(asked);
    // Before the row is read: a revocation in between makes the two differ.
    const isDenied = denySet.has(serial as SerialNumber);
    const now = clock.now();
    // Not one from the future of a clock that was set back since: nobody would take it.
    const isOfNow = kept !== undefined && now < kept.renewAt && now >= kept.lastModified;
    if (isOfNow && kept.isDenied === isDenied) {
      metrics.ocspAnswered(kept.outcome, true);
      return { der: kept.der, kept };
    }
    const status = await this.#judge(issuer, certId);
    metrics.ocspAnswered(status.kind, false);
    const { der, thisUpdate, nextUpdate } = this.#sign(issuer.signer(), [{ certId: certId.der, status }]);
    // What is unknown may be issued the next moment.
    if (status.kind === 'unknown' || denySet.has(serial as SerialNumber) !== isDenied) return { der };
    const answer: KeptAnswer = {
      der,
      etag: `"${hash('sha256', der, 'base64url')}"`,
      lastModified: thisUpdate,
      expires: nextUpdate,
      renewAt: thisUpdate + (nextUpdate - thisUpdate) / 2,
      isDenied,
      outcome: status.kind,
    };
    this.#answers.put(asked, serial, answer);
    return { der, kept: answer };
  }

  async #judge(issuer: OcspIssuer, certId: CertId): Promise<CertStatus> {
    const row = await this.#deps.store.read.certificates.find(certId.serial);
    if (row === undefined || row.issuerKeyId !== issuer.keyId) return { kind: 'unknown' };
    if (row.state !== 'revoked') return { kind: 'good' };
    return {
      kind: 'revoked',
      at: row.revokedAt ?? row.issuedAt,
      reason: parseRevocationReason(row.revocationReason ?? '') ?? 'unspecified',
    };
  }

  #sign(
    signer: OcspSigner,
    answers: readonly { certId: Buffer; status: CertStatus }[],
    nonce?: Buffer,
  ): { der: Buffer; thisUpdate: number; nextUpdate: number } {
    const thisUpdate = Math.floor(this.#deps.clock.now() / 1000) * 1000;
    const nextUpdate = Math.min(thisUpdate + VALIDITY_MS, signer.notAfter);
    const { keyHash: responderKeyHash, signatureAlgorithm, certificate } = signer;
    const data = formatOcspResponseData({
      responderKeyHash,
      producedAt: thisUpdate,
      thisUpdate,
      nextUpdate,
      answers,
      ...(nonce !== undefined && { nonce }),
    });
    return {
      der: formatOcspResponse(data, signatureAlgorithm, signer.sign(data), certificate),
      thisUpdate,
      nextUpdate,
    };
  }
}
