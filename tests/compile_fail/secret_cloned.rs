//! A secret has no copies.
use keyferry::crypto::secret::KeyMaterial;

fn copy(material: &KeyMaterial) -> KeyMaterial {
    material.clone()
}

fn main() {}
