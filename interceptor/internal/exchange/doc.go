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
// emission. The digits are the 128-bit MurmurHash3 of both endpoints
// and both initial sequence numbers. No time goes in, so that the same frames
// from a source with another clock give the same ids; but where a connection
// was joined midstream and its sequence numbers are not known, its start in
// microseconds does. A capture that holds the very same connection twice, such
// as one replayed in a loop, gives the same ids twice.
//
// An id is no proof. Whoever can have frames of both ends captured can give his
// connection the name of another that he knows, whatever the hash, by its endpoints
// and numbers; that other endpoints and numbers can be found, too, which give it, is
// the price of a hash that is not cryptographic. Whoever is one end doesn't choose the
// initial sequence number of the other.
package exchange
