/**
 * The signed lists themselves, for the time after a restart. Not in the database: writing megabytes there would hold
 * every door for tens of milliseconds. A list that is lost is made again.
 */
export interface StatusListArchive {
  /** @param name of letters, digits, `-` and `@` */
  save(name: string, der: Buffer): Promise<void>;
  /** As it was saved, or what a power cut left of it: its signature has to be checked. undefined when there is none. */
  load(name: string): Promise<Buffer | undefined>;
}
