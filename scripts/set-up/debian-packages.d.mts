export type DebianPackage = { package: string; command: string; library?: string; reason: string };
export declare const DEBIAN_PACKAGES: readonly DebianPackage[];
/** @returns those whose command, or library where one is named, is not installed. */
export declare function missingPackages<T extends { command: string; library?: string }>(wanted: readonly T[]): T[];
