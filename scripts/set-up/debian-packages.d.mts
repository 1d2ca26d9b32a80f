export type DebianPackage = { package: string; command: string; reason: string };
export declare const DEBIAN_PACKAGES: readonly DebianPackage[];
/** @returns those whose command is not installed. */
export declare function missingPackages<T extends { command: string }>(wanted: readonly T[]): T[];
