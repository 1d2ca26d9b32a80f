/** X.520 serialNumber is a PrintableString of at most 64 characters: it stands in certificates. */
export const HARDWARE_SERIAL = /^[A-Za-z0-9 '()+,./:=?-]{1,64}$/;

export const HARDWARE_SERIAL_RULE = "a hardware serial is 1 to 64 of A-Z a-z 0-9 space ' ( ) + , - . / : = ?";
