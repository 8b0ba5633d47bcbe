//go:build !solution

// Package byhand is an exercise of chapter 6.
package byhand

// Script prints the manifest of tag $3 in repository $2 of the registry whose
// URL is $1, and fails where the registry does not give it.
const Script = `
curl -s "$1/v2/$2/manifests/$3"
`
