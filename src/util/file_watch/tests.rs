use std::fs;

use super::*;

/// Numbers, one a line.
fn numbers(files: &[Vec<u8>]) -> Result<Vec<u32>, String> {
    let text = String::from_utf8_lossy(&files[0]).into_owned();
    let numbers = text.lines().map(str::parse).collect::<Result<_, _>>();
    numbers.map_err(|_| "holds something else than numbers".to_owned())
}

async fn now(watched: &ReloadingFile<Vec<u32>>) -> CurrentValue<Vec<u32>> {
    watched.invalidate();
    let later = Deadline::now() + Duration::from_secs(30);
    watched.current(later).await.unwrap()
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("numbers");
    fs::write(&path, "1\n").unwrap();
    let watched = ReloadingFile::load(vec![path.clone()], numbers).unwrap();
    let first = now(&watched).await;
    assert_eq!((&*first.value, first.generation), (&vec![1], 0));
    // Of the same length, and within one tick of the clock of file timestamps.
    fs::write(&path, "2\n").unwrap();
    let second = now(&watched).await;
    assert_eq!((&*second.value, second.generation), (&vec![2], 1));
    assert_eq!(now(&watched).await.generation, 1);
}

#[tokio::test]
async fn a_swapped_symbolic_link_is_a_change() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let past = SystemTime::now() - Duration::from_secs(3600);
    for (name, text) in [("old", "1\n"), ("new", "2\n")] {
        fs::write(at(name), text).unwrap();
        let file = File::options().write(true).open(at(name)).unwrap();
        file.set_modified(past).unwrap();
    }
    std::os::unix::fs::symlink("old", at("current")).unwrap();
    let watched = ReloadingFile::load(vec![at("current")], numbers).unwrap();
    assert_eq!(*now(&watched).await.value, [1]);
    std::os::unix::fs::symlink("new", at("next")).unwrap();
    fs::rename(at("next"), at("current")).unwrap();
    assert_eq!(*now(&watched).await.value, [2]);
}

#[tokio::test]
async fn a_broken_file_keeps_the_old_value_and_is_not_valid() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("numbers");
    fs::write(&path, "1\n").unwrap();
    let watched = ReloadingFile::load(vec![path.clone()], numbers).unwrap();
    for breakage in ["one\n", ""] {
        if breakage.is_empty() {
            fs::remove_file(&path).unwrap();
        } else {
            fs::write(&path, breakage).unwrap();
        }
        let broken = now(&watched).await;
        assert_eq!((&*broken.value, broken.is_whole), (&vec![1], false));
    }
    fs::write(&path, "1\n").unwrap();
    let mended = now(&watched).await;
    assert_eq!((&*mended.value, mended.is_whole), (&vec![1], true));
}

#[tokio::test]
async fn a_file_that_goes_away_and_comes_back_unchanged_is_valid_again() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    fs::write(at("numbers"), "1\n").unwrap();
    let past = SystemTime::now() - Duration::from_secs(3600);
    let file = File::options().write(true).open(at("numbers")).unwrap();
    file.set_modified(past).unwrap();
    let watched = ReloadingFile::load(vec![at("numbers")], numbers).unwrap();
    // The same file by device, inode, size and time.
    fs::rename(at("numbers"), at("aside")).unwrap();
    assert!(!now(&watched).await.is_whole);
    fs::rename(at("aside"), at("numbers")).unwrap();
    let back = now(&watched).await;
    assert_eq!((&*back.value, back.is_whole), (&vec![1], true));
}

#[test]
fn a_file_that_cannot_be_used_at_the_start_is_named() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("numbers");
    let error = |path: &Path| {
        let loaded = ReloadingFile::load(vec![path.to_owned()], numbers);
        loaded.map(|_| ()).unwrap_err().to_string()
    };
    assert!(error(&path).contains("cannot be read: No such file"));
    fs::write(&path, "one\n").unwrap();
    assert!(error(&path).ends_with("numbers: holds something else than numbers"));
}
