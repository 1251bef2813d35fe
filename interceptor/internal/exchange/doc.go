// Package exchange finishes the records that protocol parsers build: it gives
// them their identity, masks credentials and hands them on.
//
// A parser fills the halves of a [capstanv1.Exchange] and calls
// [Recorder.Emit]; the recorder adds id, endpoints, source, start time and
// duration, brings the flaws into order and replaces the values of credential
// fields before anything leaves.
//
// # Ids
//
// An id is 32 hexadecimal digits that name the connection, a dash and the
// decimal ordinal of the record on its connection, from 0, in the order of
// emission. The digits are the first 16 bytes of a SHA-256 over both endpoints
// and both initial sequence numbers; no timestamp goes in, so the same frames
// read from a file of another clock resolution give the same ids. Where a
// connection was joined midstream and its sequence numbers are not known, the
// number of such connections before it between the same endpoints goes in.
package exchange
