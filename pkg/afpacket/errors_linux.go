package afpacket

import "fmt"

// PermissionError says that the process lacks a capability that Open needs.
type PermissionError struct {
	Capability string // as capabilities(7) spells it
	Err        error  // the errno
}

// Error names the capability and the cause.
func (e *PermissionError) Error() string {
	return fmt.Sprintf("afpacket: needs %s: %v", e.Capability, e.Err)
}

// Unwrap returns Err.
func (e *PermissionError) Unwrap() error { return e.Err }

// InterfaceGoneError says that an interface is not there or not up, or ceased
// to be so. A ring doesn't recover from it: close it, and open another one
// when the interface is back.
type InterfaceGoneError struct {
	Interface int   // ifindex
	Err       error // unix.ENETDOWN, unix.ENODEV or unix.ENXIO
}

// Error names the interface and the cause.
func (e *InterfaceGoneError) Error() string {
	return fmt.Sprintf("afpacket: interface %d is gone or down: %v", e.Interface, e.Err)
}

// Unwrap returns Err.
func (e *InterfaceGoneError) Unwrap() error { return e.Err }

// ConfigError says which field of a [Config] has an impossible value.
type ConfigError struct {
	Field  string
	Value  int64
	Reason string
}

// Error names the field, its value and the reason.
func (e *ConfigError) Error() string {
	return fmt.Sprintf("afpacket: %s %d: %s", e.Field, e.Value, e.Reason)
}
