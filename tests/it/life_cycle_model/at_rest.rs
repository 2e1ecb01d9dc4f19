//! The records that the model expects in the store, and what it learns from them.

use std::collections::BTreeSet;

use super::model::{Due, Key, Life, Model, Stored};

/// Every path of the store.
pub type Paths = BTreeSet<String>;

impl Stored {
    /// Takes the ids that the server made from the store: they are the one
    /// thing that cannot be told beforehand.
    pub fn learn(&mut self, paths: &Paths) {
        let known: BTreeSet<String> = self.keys.iter().map(|key| key.id.clone()).collect();
        let mut fresh = under(paths, "cmk/").filter(|id| !known.contains(*id));
        for key in &mut self.keys {
            if key.id.is_empty() {
                key.id = fresh.next().map(str::to_owned).unwrap_or_default();
            }
            if let Some(version) = unknown_version(key, paths)
                && let Some(place) = key.versions.last_mut().filter(|last| last.is_empty())
            {
                *place = version;
            }
        }
    }

    /// The model after a look that the store disturbed, where `whole` is the model
    /// after an undisturbed one: each CMK has had its turn or has not.
    pub fn after_part_of(&self, whole: &Self, paths: &Paths) -> Self {
        let mut part = self.clone();
        for (key, turned) in part.keys.iter_mut().zip(&whole.keys) {
            let had_its_turn = if turned.is_deleted() {
                paths.contains(&format!("tombstone/{}", key.id))
            } else {
                turned == key || unknown_version(key, paths).is_some()
            };
            if had_its_turn {
                *key = turned.clone();
            }
            if key.is_deleted() {
                key.life = Life::Deleted { erased: !paths.contains(&mark(key)) };
            }
        }
        let keys = &part.keys;
        part.names.retain(|(name, key)| !keys[*key].is_deleted() || paths.contains(name));
        part.learn(paths);
        part
    }
}

/// A version of a CMK that is in the store and not in the model.
fn unknown_version(key: &Key, paths: &Paths) -> Option<String> {
    let prefix = format!("key-version/{}/", key.id);
    let unknown = under(paths, &prefix).find(|id| !key.versions.iter().any(|known| known == id));
    unknown.map(str::to_owned)
}

fn under<'a>(paths: &'a Paths, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let from = paths.range(prefix.to_owned()..);
    from.map_while(move |path| path.strip_prefix(prefix))
}

fn mark(key: &Key) -> String {
    format!("erasure/{}", key.id)
}

/// Where a CMK stands in the index of what is due.
fn due_path(key: &Key) -> Option<String> {
    let (kind, at) = match key.due()? {
        Due::Deletion(at) => ("deletion", at),
        Due::Rotation(at) => ("rotation", at),
    };
    Some(format!("due/{kind}/{at:012}/{}", key.id))
}

/// The records of a CMK's versions, and of its names.
fn parts(model: &Model, number: usize, key: &Key) -> Paths {
    let versions = key.versions.iter();
    let versions =
        versions.flat_map(|id| [format!("version/{id}"), format!("key-version/{}/{id}", key.id)]);
    let names = model.names_of(number).map(str::to_owned);
    let list = key.was_named.then(|| format!("key-aliases/{}", key.id));
    versions.chain(names).chain(list).collect()
}

impl Model {
    /// The first disagreement with the paths of the store.
    pub fn wrong_with(&self, paths: &Paths) -> Option<String> {
        let (mut wanted, mut tolerated) = (Paths::new(), Paths::new());
        for (number, key) in self.stored.keys.iter().enumerate() {
            if let Life::Deleted { erased } = key.life {
                wanted.insert(format!("tombstone/{}", key.id));
                if !erased {
                    wanted.insert(mark(key));
                    tolerated.extend(parts(self, number, key));
                }
            } else {
                wanted.insert(format!("cmk/{}", key.id));
                wanted.extend(parts(self, number, key));
                wanted.extend(due_path(key));
            }
        }
        let compared = paths
            .iter()
            .filter(|path| !path.starts_with("store/") && !path.starts_with("alias-order/"));
        let found: Paths = compared.cloned().collect();
        let missing: Vec<_> = wanted.difference(&found).collect();
        let stray: Vec<_> =
            found.difference(&wanted).filter(|path| !tolerated.contains(*path)).collect();
        let [names, places] = ["alias/", "alias-order/"].map(|prefix| under(paths, prefix).count());
        (!missing.is_empty() || !stray.is_empty() || names != places).then(|| {
            format!("missing: {missing:#?}, stray: {stray:#?}, {names} names in {places} places")
        })
    }
}
