// Package spool is a bounded queue of records on disk that outlives the process
// and the power: what Append has returned for is there after a crash, until it
// has been acknowledged.
//
// A spool is a directory of segments. A segment's name is the number of its
// first record, 16 hexadecimal digits and ".spool"; numbers start at 0 and grow
// by one for each record ever appended, so that it is known how many records a
// damaged part held. A segment is a sequence of frames, integers little endian:
//
//	length   u32   of the record
//	crc      u32   CRC-32C of length and record
//	record   length bytes
//
// The file "acked" holds the number of the first record that is not
// acknowledged, as decimal text. It is replaced now and then, not with every
// acknowledgement: after a crash some records that were acknowledged come again.
// Whoever reads a spool has to bear repeats (at least once).
//
// One process uses a directory at a time; a lock on the file "lock" sees to it.
package spool
