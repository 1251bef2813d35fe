// Package relay is the program relay: a server of the service Collector that
// acknowledges records once they are on its disk, and brings them to the next
// collector, through a proxy where one is needed; or, as "relay sink", to files.
package relay
