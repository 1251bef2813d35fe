package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const frameHeaderLen = 8

// MaxRecord is the longest record that a spool takes, in bytes.
const MaxRecord = 64 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged is a frame that isn't what was written: cut short, or changed.
var errDamaged = errors.New("damaged frame")

// appendFrame appends the frame of a record.
func appendFrame(dst, record []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(record)))
	dst = binary.LittleEndian.AppendUint32(dst, checksum(uint32(len(record)), record))
	return append(dst, record...)
}

func checksum(length uint32, record []byte) uint32 {
	var l [4]byte
	binary.LittleEndian.PutUint32(l[:], length)
	return crc32.Update(crc32.Checksum(l[:], castagnoli), castagnoli, record)
}

// readFrame reads one record into buf, which it grows as needed, and returns it.
// io.EOF is the end of the segment, errDamaged in the chain anything else that
// the writer didn't leave behind.
func readFrame(r io.Reader, buf []byte) ([]byte, error) {
	var header [frameHeaderLen]byte
	if n, err := io.ReadFull(r, header[:]); err == io.ErrUnexpectedEOF {
		return buf, fmt.Errorf("%w: %d of %d bytes of its header", errDamaged, n, frameHeaderLen)
	} else if err != nil {
		return buf, err
	}
	length := binary.LittleEndian.Uint32(header[:])
	if length > MaxRecord {
		return buf, fmt.Errorf("%w: says it has %d bytes", errDamaged, length)
	}
	// Grown by what is there, not by what a damaged length says.
	buf = buf[:0]
	for remaining := int(length); remaining > 0; {
		n := min(remaining, 1<<20)
		at := len(buf)
		buf = append(buf, make([]byte, n)...)
		if m, err := io.ReadFull(r, buf[at:]); err == io.EOF || err == io.ErrUnexpectedEOF {
			return buf, fmt.Errorf("%w: %d of %d bytes", errDamaged, at+m, length)
		} else if err != nil {
			return buf, err
		}
		remaining -= n
	}
	if checksum(length, buf) != binary.LittleEndian.Uint32(header[4:]) {
		return buf, fmt.Errorf("%w: wrong checksum", errDamaged)
	}
	return buf, nil
}
