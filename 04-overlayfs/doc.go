// Package overlayfs is a root made of layers.
package overlayfs
