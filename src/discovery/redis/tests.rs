use super::*;

#[test]
fn only_names_of_repositories_that_can_be_mounted_are_taken() {
    let long = "a".repeat(256);
    let unmountable = "a".repeat(250);
    let texts = [
        "team/app",
        "../etc",
        "Team/App",
        "",
        &long,
        &unmountable,
        "base/os",
    ];
    let mut texts: Vec<_> = texts.iter().map(|it| it.as_bytes().to_vec()).collect();
    texts.push(vec![0xff, 0xfe]);
    texts.push(vec![b'a'; 1_000_000]);
    let names = parse_names(&texts, MOST_HOLDERS);
    let names: Vec<_> = names.iter().map(RepositoryName::as_str).collect();
    assert_eq!(names, ["team/app", "base/os"]);
}

#[test]
fn no_more_names_are_taken_than_were_asked_for() {
    let texts: Vec<_> = (0..1000).map(|n| format!("r{n}").into_bytes()).collect();
    assert_eq!(parse_names(&texts, MOST_HOLDERS).len(), 256);
}
