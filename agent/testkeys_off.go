//go:build !sallyport_testkeys

package main

import "sallyport.dev/sallyport/agent/datapath"

// exportKey does nothing: keys leave an agent in no way. Builds with the tag sallyport_testkeys, which
// only the end-to-end tests make, hand them to a packet dissector.
func exportKey(datapath.SA) {}
