//! Where the API server of Kubernetes is and how to log in: by a kubeconfig file, or by the service account of the pod that this program
//! runs in. <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>

use crate::{config::Scalar, tls};
use base64::Engine as _;
use reqwest::Url;
use serde::Deserialize;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The folder with the service account of a pod.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// Without a name; a client certificate may be shown.
    None,
    /// With a bearer token.
    Token(String),
    /// With a bearer token in a file, which is replaced from time to time.
    TokenFile(PathBuf),
    /// With user and password.
    Basic(String, String),
}

/// An API server and how to log in.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) server: Url,
    pub(super) tls: tls::Options,
    pub(super) login: Login,
    pub(super) proxy: Option<Url>,
    /// The name of the cluster in the kubeconfig. `None` inside of a cluster.
    pub(super) cluster: Option<String>,
    /// The namespace of the pod that this program runs in.
    pub(super) own_namespace: Option<String>,
}

/// How the API server is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By a kubeconfig file.
    KubeConfig(PathBuf),
    /// By the service account of the pod: host and port of the API server, and the folder.
    ServiceAccount(String, String, PathBuf),
}

impl Way {
    /// Finds the way: `kube_config`, the variable `KUBECONFIG`, or the variables and files of a pod. `None` outside of Kubernetes.
    pub(super) fn find(kube_config: &str, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        if !kube_config.is_empty() {
            return Some(Self::KubeConfig(in_home(kube_config, &variable)));
        }
        let listed = variable("KUBECONFIG").unwrap_or_default();
        // The variable may list several files. The first one that exists is used.
        let mut files = listed.split(':').filter(|file| !file.is_empty()).map(PathBuf::from).peekable();
        if let Some(first) = files.peek().cloned() {
            return Some(Self::KubeConfig(files.find(|file| file.exists()).unwrap_or(first)));
        }
        let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        Some(Self::ServiceAccount(host, port, SERVICE_ACCOUNT.into()))
    }

    /// Reads the files.
    ///
    /// # Errors
    /// When a file cannot be read or a setting in it is not supported.
    pub(super) fn access(&self) -> Result<Access, String> {
        match self {
            Self::KubeConfig(file) => kube_config(file),
            Self::ServiceAccount(host, port, folder) => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let token = folder.join("token");
                fs::read_to_string(&token).map_err(|error| format!("{}: {error}", token.display()))?;
                let authority = folder.join("ca.crt").display().to_string();
                let own_namespace = fs::read_to_string(folder.join("namespace")).ok().map(|text| text.trim().to_owned());
                Ok(Access {
                    server: Url::parse(&format!("https://{host}:{port}")).map_err(|error| format!("KUBERNETES_SERVICE_HOST: {error}"))?,
                    tls: tls::Options::of(vec![authority], String::new(), String::new(), true),
                    login: Login::TokenFile(token),
                    proxy: None,
                    cluster: None,
                    own_namespace,
                })
            }
        }
    }
}

fn in_home(path: &str, variable: impl Fn(&str) -> Option<String>) -> PathBuf {
    match path.strip_prefix("~/").zip(variable("HOME")) {
        Some((rest, home)) => Path::new(&home).join(rest),
        None => path.into(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    current_context: String,
    #[serde(default)]
    clusters: Vec<Named>,
    #[serde(default)]
    users: Vec<Named>,
    #[serde(default)]
    contexts: Vec<Named>,
}

/// An entry of one of the three lists.
#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    cluster: Cluster,
    #[serde(default)]
    user: User,
    #[serde(default)]
    context: Context,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    certificate_authority: String,
    certificate_authority_data: String,
    insecure_skip_tls_verify: bool,
    proxy_url: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    token: Option<Scalar>,
    #[serde(rename = "tokenFile")]
    token_file: String,
    username: String,
    password: Option<Scalar>,
    exec: Option<serde::de::IgnoredAny>,
    auth_provider: Option<serde::de::IgnoredAny>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
}

/// The content of a PEM setting: the data in base64, or else the name of a file relative to the kubeconfig.
fn pem(folder: &Path, name: &str, data: &str, file: &str) -> Result<String, String> {
    if data.is_empty() {
        return Ok(if file.is_empty() { String::new() } else { folder.join(file).display().to_string() });
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(data.trim()).map_err(|error| format!("{name}: {error}"))?;
    String::from_utf8(bytes).map_err(|_| format!("{name}: it is not in PEM form"))
}

fn kube_config(path: &Path) -> Result<Access, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    read(&text, path.parent().unwrap_or(Path::new("/"))).map_err(|why| format!("{}: {why}", path.display()))
}

fn read(text: &str, folder: &Path) -> Result<Access, String> {
    let file: File = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let named = |list: &[Named], what: &str, name: &str| {
        list.iter().position(|entry| entry.name == name).ok_or_else(|| format!("there is no {what} `{name}`"))
    };
    let context = named(&file.contexts, "context", &file.current_context)?;
    let context = file.contexts.get(context).map(|entry| entry.context.clone()).unwrap_or_default();
    let cluster = named(&file.clusters, "cluster", &context.cluster)?;
    let cluster = file.clusters.get(cluster).map(|entry| entry.cluster.clone()).unwrap_or_default();
    let user = file.users.iter().find(|entry| entry.name == context.user).map(|entry| entry.user.clone()).unwrap_or_default();
    if user.exec.is_some() || user.auth_provider.is_some() {
        return Err("this user logs in by a program (`exec`, `auth-provider`), which is not supported; use a token or a certificate".into());
    }
    let authority = pem(folder, "certificate-authority-data", &cluster.certificate_authority_data, &cluster.certificate_authority)?;
    let certificate = pem(folder, "client-certificate-data", &user.client_certificate_data, &user.client_certificate)?;
    let key = pem(folder, "client-key-data", &user.client_key_data, &user.client_key)?;
    let authorities = if authority.is_empty() { Vec::new() } else { vec![authority] };
    let token = user.token.map(|token| token.0).filter(|token| !token.is_empty());
    let login = match (token, user.token_file.as_str(), user.username.as_str()) {
        (Some(token), ..) => Login::Token(token),
        (_, "", "") => Login::None,
        (_, "", name) => Login::Basic(name.to_owned(), user.password.map(|password| password.0).unwrap_or_default()),
        (_, file, _) => Login::TokenFile(folder.join(file)),
    };
    let proxy = match cluster.proxy_url.as_str() {
        "" => None,
        url => Some(Url::parse(url).map_err(|error| format!("proxy-url: {error}"))?),
    };
    Ok(Access {
        server: Url::parse(&cluster.server).map_err(|error| format!("server `{}`: {error}", cluster.server))?,
        tls: tls::Options::of(authorities, certificate, key, !cluster.insecure_skip_tls_verify),
        login,
        proxy,
        cluster: Some(context.cluster),
        own_namespace: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nclusters:\n- {{name: other, cluster: {{server: 'http://other'}}}}\n- {{name: c, cluster: {cluster}}}\n\
             users: [{{name: u, user: {user}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
        )
    }

    #[test]
    fn a_kubeconfig_says_where_and_who() {
        let server = "{server: 'http://127.0.0.1:1'}";
        for (user, login) in [
            ("{}", Login::None),
            ("{token: abc}", Login::Token("abc".into())),
            ("{token: 123}", Login::Token("123".into())),
            ("{tokenFile: t}", Login::TokenFile("/folder/t".into())),
            ("{tokenFile: /t}", Login::TokenFile("/t".into())),
            ("{username: a, password: b}", Login::Basic("a".into(), "b".into())),
        ] {
            let access = read(&one(server, user), Path::new("/folder")).unwrap();
            assert_eq!(
                (access.login, access.server.as_str(), access.cluster.as_deref()),
                (login, "http://127.0.0.1:1/", Some("c")),
                "{user}"
            );
        }
        for (cluster, user, error) in [
            ("{server: nowhere}", "{}", "server `nowhere`"),
            (server, "{exec: {command: aws}}", "`exec`"),
            ("{server: 'https://a', certificate-authority-data: '*'}", "{}", "certificate-authority-data"),
        ] {
            let got = read(&one(cluster, user), Path::new("/")).map(drop).unwrap_err();
            assert!(got.contains(error), "{got} lacks {error}");
        }
        let got = read("{current-context: y}", Path::new("/")).map(drop).unwrap_err();
        assert_eq!(got, "there is no context `y`");
    }

    #[test]
    fn the_file_is_preferred_to_the_service_account() {
        let pod = |name: &str| match name {
            "KUBERNETES_SERVICE_HOST" => Some("10.0.0.1".to_owned()),
            "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
            "HOME" => Some("/home/me".to_owned()),
            _ => None,
        };
        assert_eq!(Way::find("~/.kube/config", pod), Some(Way::KubeConfig("/home/me/.kube/config".into())));
        assert_eq!(Way::find("", pod), Some(Way::ServiceAccount("10.0.0.1".into(), "443".into(), SERVICE_ACCOUNT.into())));
        let with_file = |name: &str| if name == "KUBECONFIG" { Some("/nonexistent/a:/nonexistent/b".to_owned()) } else { pod(name) };
        assert_eq!(Way::find("", with_file), Some(Way::KubeConfig("/nonexistent/a".into())));
        assert_eq!(Way::find("", |_| None), None);
    }

    #[test]
    fn a_service_account_is_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let way = Way::ServiceAccount("fd00::1".into(), "6443".into(), folder.path().into());
        assert!(way.access().unwrap_err().contains("token"));
        fs::write(folder.path().join("token"), "t").unwrap();
        fs::write(folder.path().join("namespace"), "mine\n").unwrap();
        let access = way.access().unwrap();
        assert_eq!((access.server.as_str(), access.own_namespace.as_deref()), ("https://[fd00::1]:6443/", Some("mine")));
        assert_eq!(access.login, Login::TokenFile(folder.path().join("token")));
    }
}
