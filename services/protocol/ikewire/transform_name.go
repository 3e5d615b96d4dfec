package ikewire

import "fmt"

// String returns IANA's short name.
func (t TransformType) String() string {
	switch {
	case t == TransformENCR:
		return "ENCR"
	case t == TransformPRF:
		return "PRF"
	case t == TransformINTEG:
		return "INTEG"
	case t == TransformKE:
		return "KE"
	case t == TransformSN:
		return "SN"
	case t >= TransformADDKE1 && t <= TransformADDKE7:
		return fmt.Sprintf("ADDKE%d", t-TransformADDKE1+1)
	case t == TransformKWA:
		return "KWA"
	case t == TransformGCAUTH:
		return "GCAUTH"
	}
	return fmt.Sprintf("transform type %d", uint8(t))
}

// String returns IANA's name of the transform and its key length, such as
// "ENCR_AES_CBC 256"; for what has no name, its numbers.
func (t Transform) String() string {
	name := t.name()
	if name == "" {
		name = fmt.Sprintf("%s %d", t.Type, t.ID)
	}
	bits, ok := t.KeyBits()
	switch {
	case !ok:
		return name + " with unknown attributes"
	case bits > 0:
		return fmt.Sprintf("%s %d", name, bits)
	}
	return name
}

func (t Transform) name() string {
	switch {
	case t.Type == TransformENCR:
		return encryptionName(t.ID)
	case t.Type == TransformPRF:
		return prfName(t.ID)
	case t.Type == TransformINTEG:
		return integrityName(t.ID)
	case t.Type == TransformKE, t.Type >= TransformADDKE1 && t.Type <= TransformADDKE7:
		if name := keyExchangeName(t.ID); name != "" {
			return fmt.Sprintf("%s %s", t.Type, name)
		}
	case t.Type == TransformSN:
		return sequenceName(t.ID)
	}
	return ""
}

func encryptionName(id uint16) string {
	switch id {
	case 1:
		return "ENCR_DES_IV64"
	case 2:
		return "ENCR_DES"
	case 3:
		return "ENCR_3DES"
	case 4:
		return "ENCR_RC5"
	case 5:
		return "ENCR_IDEA"
	case 6:
		return "ENCR_CAST"
	case 7:
		return "ENCR_BLOWFISH"
	case 8:
		return "ENCR_3IDEA"
	case 9:
		return "ENCR_DES_IV32"
	case 11:
		return "ENCR_NULL"
	case 12:
		return "ENCR_AES_CBC"
	case 13:
		return "ENCR_AES_CTR"
	case 14:
		return "ENCR_AES_CCM_8"
	case 15:
		return "ENCR_AES_CCM_12"
	case 16:
		return "ENCR_AES_CCM_16"
	case 18:
		return "ENCR_AES_GCM_8"
	case 19:
		return "ENCR_AES_GCM_12"
	case 20:
		return "ENCR_AES_GCM_16"
	case 21:
		return "ENCR_NULL_AUTH_AES_GMAC"
	case 23:
		return "ENCR_CAMELLIA_CBC"
	case 24:
		return "ENCR_CAMELLIA_CTR"
	case 25:
		return "ENCR_CAMELLIA_CCM_8"
	case 26:
		return "ENCR_CAMELLIA_CCM_12"
	case 27:
		return "ENCR_CAMELLIA_CCM_16"
	case 28:
		return "ENCR_CHACHA20_POLY1305"
	case 29:
		return "ENCR_AES_CCM_8_IIV"
	case 30:
		return "ENCR_AES_GCM_16_IIV"
	case 31:
		return "ENCR_CHACHA20_POLY1305_IIV"
	case 32:
		return "ENCR_KUZNYECHIK_MGM_KTREE"
	case 33:
		return "ENCR_MAGMA_MGM_KTREE"
	case 34:
		return "ENCR_KUZNYECHIK_MGM_MAC_KTREE"
	case 35:
		return "ENCR_MAGMA_MGM_MAC_KTREE"
	}
	return ""
}

func prfName(id uint16) string {
	switch id {
	case 1:
		return "PRF_HMAC_MD5"
	case 2:
		return "PRF_HMAC_SHA1"
	case 3:
		return "PRF_HMAC_TIGER"
	case 4:
		return "PRF_AES128_XCBC"
	case 5:
		return "PRF_HMAC_SHA2_256"
	case 6:
		return "PRF_HMAC_SHA2_384"
	case 7:
		return "PRF_HMAC_SHA2_512"
	case 8:
		return "PRF_AES128_CMAC"
	case 9:
		return "PRF_HMAC_STREEBOG_512"
	}
	return ""
}

func integrityName(id uint16) string {
	switch id {
	case 0:
		return "INTEG NONE"
	case 1:
		return "AUTH_HMAC_MD5_96"
	case 2:
		return "AUTH_HMAC_SHA1_96"
	case 3:
		return "AUTH_DES_MAC"
	case 4:
		return "AUTH_KPDK_MD5"
	case 5:
		return "AUTH_AES_XCBC_96"
	case 6:
		return "AUTH_HMAC_MD5_128"
	case 7:
		return "AUTH_HMAC_SHA1_160"
	case 8:
		return "AUTH_AES_CMAC_96"
	case 9:
		return "AUTH_AES_128_GMAC"
	case 10:
		return "AUTH_AES_192_GMAC"
	case 11:
		return "AUTH_AES_256_GMAC"
	case 12:
		return "AUTH_HMAC_SHA2_256_128"
	case 13:
		return "AUTH_HMAC_SHA2_384_192"
	case 14:
		return "AUTH_HMAC_SHA2_512_256"
	}
	return ""
}

func keyExchangeName(id uint16) string {
	switch id {
	case 0:
		return "NONE"
	case 1:
		return "MODP-768"
	case 2:
		return "MODP-1024"
	case 5:
		return "MODP-1536"
	case 14:
		return "MODP-2048"
	case 15:
		return "MODP-3072"
	case 16:
		return "MODP-4096"
	case 17:
		return "MODP-6144"
	case 18:
		return "MODP-8192"
	case 19:
		return "P-256"
	case 20:
		return "P-384"
	case 21:
		return "P-521"
	case 22:
		return "MODP-1024-160"
	case 23:
		return "MODP-2048-224"
	case 24:
		return "MODP-2048-256"
	case 25:
		return "P-192"
	case 26:
		return "P-224"
	case 27:
		return "brainpoolP224r1"
	case 28:
		return "brainpoolP256r1"
	case 29:
		return "brainpoolP384r1"
	case 30:
		return "brainpoolP512r1"
	case 31:
		return "Curve25519"
	case 32:
		return "Curve448"
	case 33:
		return "GOST3410_2012_256"
	case 34:
		return "GOST3410_2012_512"
	case 35:
		return "ML-KEM-512"
	case 36:
		return "ML-KEM-768"
	case 37:
		return "ML-KEM-1024"
	}
	return ""
}

func sequenceName(id uint16) string {
	switch id {
	case 0:
		return "32-bit sequential numbers"
	case 1:
		return "ESN"
	case 2:
		return "32-bit unspecified numbers"
	}
	return ""
}
