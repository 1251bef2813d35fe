//go:build linux

package device

import "fmt"

// Error is a device that can't be used. Its text is the reference's
// (pcap_open_live in pcap.c of libpcap), since it goes to clients, some of
// which look for parts of it: tcpdump takes "No such device" as the hint that
// the name may be a number in the listing.
type Error struct {
	Device string
	Status string // what libpcap calls the status
	Detail string // may be empty
	Err    error  // may be nil
}

// Error returns "DEVICE: STATUS (DETAIL)".
func (e *Error) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("%s: %s", e.Device, e.Status)
	}
	return fmt.Sprintf("%s: %s (%s)", e.Device, e.Status, e.Detail)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

const (
	statusNoDevice   = "No such device exists"
	statusPermission = "You don't have permission to perform this capture on that device"
	statusNotUp      = "That device is not up"

	detailPermission = "Attempt to create packet socket failed - CAP_NET_RAW may be required"
)

// Denied is the error of a device that the client may not open: what the
// reference says when the user that it has become may not.
func Denied(name string) *Error {
	return &Error{Device: name, Status: statusPermission, Detail: detailPermission}
}
