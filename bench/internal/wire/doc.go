// Package wire puts generated frames on an interface at a given rate and says
// what was really sent.
package wire
