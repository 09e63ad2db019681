"""Words for invented tools: verbs, nouns, attributes, and the kinds of parameters with wordings.

Knows words only: nothing here knows how a tool is offered or called.
"""

from __future__ import annotations

VERBS: dict[str, tuple[str, ...]] = {
    "book": ("reserve",),
    "send": ("dispatch",),
    "create": ("make", "set up"),
    "delete": ("remove", "get rid of"),
    "update": ("change",),
    "cancel": ("call off",),
    "schedule": ("plan",),
    "order": ("buy",),
    "track": ("follow",),
    "translate": (),
    "search": ("look for",),
    "check": ("verify",),
    "add": (),
    "print": (),
    "export": (),
    "import": (),
    "rent": ("hire",),
    "repair": ("fix",),
    "clean": (),
    "start": ("launch",),
    "stop": ("halt",),
    "open": (),
    "close": ("shut",),
    "lock": (),
    "unlock": (),
    "paint": (),
    "measure": (),
    "compare": (),
    "estimate": (),
    "register": (),
    "assign": (),
    "archive": (),
    "upload": (),
    "download": (),
    "share": (),
    "rate": (),
    "review": (),
    "report": (),
    "plant": (),
    "charge": (),
    "pay": (),
    "refund": (),
    "transfer": ("move",),
    "rename": (),
    "resize": (),
    "play": (),
    "pause": (),
    "record": (),
    "draw": (),
    "analyze": ("examine",),
    "validate": (),
    "generate": ("produce",),
    "invite": (),
    "notify": ("inform",),
    "approve": (),
    "reject": ("turn down",),
    "ship": (),
    "pack": (),
    "weigh": (),
    "test": (),
    "install": (),
    "subscribe": (),
    "post": ("publish",),
    "log": (),
    "format": (),
    "sort": (),
    "filter": (),
    "deliver": ("bring",),
    "inspect": (),
    "renew": ("extend",),
    "design": (),
    "mix": (),
    "cut": (),
    "scan": (),
    "sell": (),
    "store": ("keep",),
    "restart": ("reboot",),
    "monitor": ("watch",),
    "adjust": (),
    "forward": (),
    "block": (),
    "collect": ("pick up",),
    "submit": ("hand in",),
    "sign": (),
    "reset": (),
    "calibrate": (),
    "mount": (),
    "load": (),
}
"""Verbs in tool names, with other words that a question may use for them."""

NOUNS = tuple(
    """table;flight;hotel room;parcel;invoice;order;ticket;meeting;appointment;reminder;alarm;event;
    email;report;playlist;song;photo;recipe;garden;car;bicycle;taxi;train;package;account;password;
    backup;server;database;sensor;lamp;door;window;heater;printer;robot;drone;camera;survey;
    contract;loan;payment;budget;salary;tax form;stock;weather;forecast;route;map;timetable;menu;
    book;article;chapter;course;exam;grade;lesson;workout;meal;medicine;prescription;patient file;
    room;boat;cabin;house;apartment;desk;chair;machine;engine;pump;valve;battery;cable;screen;phone;
    laptop;website;domain;blog post;comment;message;newsletter;banner;poster;logo;video;podcast;
    movie;concert;match;tournament;team;player;score;coupon;voucher;gift card;subscription;
    membership;donation;shipment;container;pallet;warehouse;shelf;product;sample;material;tile;wall;
    roof;tree;flower;seed;field;harvest;animal;horse;dog walk;aquarium;oven;fridge;washing machine;
    vacuum;thermostat;curtain;pool;sauna;lift;gate;parking spot;bus;ferry;plane;satellite;telescope;
    microscope;experiment;model;dataset;chart;spreadsheet;slide;document;folder;archive;certificate;
    licence;passport;visa;permit;badge;uniform;shirt;shoe;ring;watch;painting;statue;guitar;piano;
    violin;drum;letter;postcard;stamp;coin;bond;share;fund;wallet;transaction;claim;policy;case;
    complaint;question;poll;vote;petition;project;task;sprint;bug;release;branch;test run;script;
    cluster;queue;job;log file;dashboard;metric;alert;incident;shift;holiday;trip;tour;guide;museum
    visit;exhibition;party;wedding;cake;coffee;tea;pizza;sandwich;salad;soup;wine;cheese;bread;fruit
    basket;bouquet;blanket;pillow;tent;backpack;ski pass;surfboard;kayak;scooter;van;truck;crane;
    tractor;windmill;solar panel;water tank;filter;fuse;switch;router;modem;antenna;speaker;
    microphone;headset;keyboard;monitor;projector""".replace("\n", " ").split(";")
)
NOUNS = tuple(" ".join(noun.split()) for noun in NOUNS)

ATTRIBUTES: dict[str, str] = {
    attribute: value
    for value, attributes in {
        "{amount}": "price;balance;salary;cost;fee;rent;value;budget;turnover;profit;deposit",
        "{percent}": "tax rate;discount;stock level;battery level;humidity;signal strength;"
        "growth rate;interest rate;fuel level;success rate;share",
        "{date}": "deadline;due date;delivery date;start date;end date;birthday;expiry date;"
        "last update",
        "{time}": "arrival time;departure time;opening time;closing time;check-in time",
        "{time} to {time:b}": "opening hours;working hours;time slot",
        "{person}": "owner;author;manager;supplier;driver;contact person;inventor;winner",
        "{city}": "location;address;birthplace;destination;home town",
        "{code}": "serial number;room number;gate number;seat number;reference number;version",
        "{number} kg": "weight;capacity;maximum load",
        "{number} m": "height;length;width;depth;thickness",
        "{number} km": "distance;mileage;range",
        "{number} minutes": "duration;waiting time;cooking time",
        "{number} [degrees|degrees Celsius]": "temperature;melting point",
        "{number} [watts|volts]": "power;voltage",
        "{number}": "population;size;age;score;error count;visitor count;page count;word count;"
        "download count;calorie count;rank;rating;speed;pressure;density;volume;noise level",
        "[open|closed|pending|ready|delayed|in progress|shipped|good|low|high]": "status;condition;"
        "priority;brightness",
        "[red|green|blue|black|white|grey|brown|yellow]": "colour",
        "[English|French|German|Spanish|Polish|Hindi]": "language",
        "{project}": "title;nickname;category;brand",
    }.items()
    for attribute in attributes.split(";")
}
"""What can be looked up of a noun, and what such a value looks like."""

SUBJECTS: dict[str, str] = {
    subject: value
    for value, subjects in {
        "[sunny|rainy|cloudy|windy|foggy|stormy], [-5|0|3|8|12|17|21|29] degrees": "weather;"
        "forecast;weather forecast;weather report;current weather",
        "{number} degrees": "temperature;water temperature;outside temperature",
        "{percent}": "chance of rain;air quality;inflation rate;unemployment rate;water level",
        "{amount}": "stock price;exchange rate;share price;ticket price;fuel price;gold price",
        "{time}": "sunset;sunrise;next train;next bus;high tide;prayer time",
        "{number} minutes": "travel time;queue length;traffic delay",
        "{number} km": "distance;length of the route",
        "{name}": "name of the mayor;name of the driver",
        "{code}": "area code;phone number;postcode;flight number",
        "[clear|slow|heavy|blocked]": "traffic;road condition;moon phase;pollen count",
        "{number}": "population;number of visitors;steps of today;heart rate",
    }.items()
    for subject in subjects.split(";")
}
"""What can be looked up by itself, such as the weather, and what it looks like."""

LABELS = tuple(
    """width;height;depth;weight;level;grade;zone;sector;channel;section;row;column;floor;phase;
    stage;mode;model;style;theme;brand;material;flavour;topic;category;department;region;branch;
    account;project;version;target;source;limit;threshold;ratio;rate;speed;pressure;volume;offset;
    margin;angle;radius;frequency;interval;delay;budget;score;rank;priority code;batch;slot;lane;
    platform;terminal;cabinet;drawer;shelf;vendor;partner;sponsor;supervisor;driver;teacher;
    instructor;reviewer;assistant;device;sensor;key;tag;label;prefix;suffix;alias;nickname;reason;
    purpose;occasion;genre;season;chapter;paragraph;scale;unit;factor;step;seed;port;host;domain;
    cluster;folder;pattern;keyword;filter;query;field;texture;pace;tempo;pitch;dose;portion;
    thickness;density;capacity;mileage""".replace("\n", " ").split(";")
)
LABELS = tuple(" ".join(label.split()) for label in LABELS)
LABEL_ADJECTIVES = tuple(
    """minimum;maximum;first;second;main;backup;total;default;start;end;target;base;
    extra;current;new;old;inner;outer;upper;lower;left;right;front;rear;daily;
    weekly;local""".replace("\n", " ").split(";")
)
LABEL_ADJECTIVES = tuple(word.strip() for word in LABEL_ADJECTIVES)

OPTIONS: dict[str, tuple[str, ...]] = {
    "size": ("small", "medium", "large"),
    "priority": ("low", "normal", "high", "urgent"),
    "colour": ("red", "green", "blue", "yellow", "black", "white"),
    "unit": ("celsius", "fahrenheit", "kelvin"),
    "format": ("pdf", "csv", "json", "html"),
    "travel class": ("economy", "business", "first"),
    "mode": ("fast", "quiet", "eco", "turbo"),
    "currency": ("EUR", "USD", "GBP", "JPY"),
    "language": ("English", "French", "German", "Spanish", "Italian", "Polish"),
    "order": ("ascending", "descending"),
    "direction": ("north", "south", "east", "west"),
    "season": ("spring", "summer", "autumn", "winter"),
    "level": ("beginner", "intermediate", "advanced"),
    "material": ("wood", "steel", "glass", "cotton", "leather"),
    "payment method": ("card", "cash", "invoice", "transfer"),
    "frequency": ("daily", "weekly", "monthly", "yearly"),
    "quality": ("draft", "standard", "premium"),
    "shape": ("round", "square", "oval"),
    "position": ("left", "right", "center"),
    "shift": ("morning", "evening", "night"),
    "genre": ("jazz", "rock", "classical", "folk"),
    "diet": ("vegan", "vegetarian", "gluten-free"),
    "status": ("active", "paused", "closed"),
    "theme": ("light", "dark", "sepia"),
    "difficulty": ("easy", "moderate", "hard"),
    "transport": ("car", "bike", "train", "bus"),
    "finish": ("matte", "glossy", "satin"),
    "category": ("sport", "travel", "food", "science"),
}
"""Parameters with a fixed set of values."""

SWITCHES = tuple(
    """express delivery;gift wrap;insurance;breakfast;notifications;subtitles;sound;a receipt;
    encryption;compression;captions;auto renewal;priority boarding;sea view;air conditioning;sugar;
    ice;extra cheese;a signature;page numbers;comments;images;a cover letter;headers;colours;
    animation;vibration;tracking;a deposit;tax;shipping;assembly;installation;a child seat;a helmet;
    cleaning;parking;luggage;a window seat;live updates;history;details;a preview;backups;alerts;
    a password;watermarks;footnotes;a discount;training""".replace("\n", " ").split(";")
)
SWITCHES = tuple(" ".join(switch.split()) for switch in SWITCHES)

ITEMS = tuple(
    """apples;bread;milk;eggs;cheese;rice;pasta;tomatoes;onions;coffee;tea;sugar;flour;
    butter;salt;pepper;lemons;bananas;carrots;potatoes;nails;screws;paint;brushes;
    tape;glue;paper;pens;pencils;folders;lamps;cables;batteries;gloves;boots;helmets;
    ropes;tents;maps;cups;plates;forks;spoons;towels;soap;candles;flowers;seeds;
    soil;red;blue;green;music;sport;travel;food;science;history;art;nature;health;
    finance;news;games;books;films;cooking;gardening;running;swimming""".replace("\n", " ").split(
        ";"
    )
)
ITEMS = tuple(word.strip() for word in ITEMS)

PHRASES = tuple(
    """running late;see you soon;please call me back;happy birthday;the door is open;lunch is ready;
    good luck tomorrow;do not forget the keys;thanks for your help;the shipment has arrived;
    buy milk;water the plants;call the dentist;pay the rent;feed the cat;pick up the kids;
    return the books;check the oven;clean the kitchen;meeting moved to room 4;welcome to the team;
    all tests passed;new prices from Monday;we are closed today;the train is delayed;
    congratulations on your new job;see attached file;great work everyone;back in ten minutes;
    the budget is approved;bring an umbrella;first draft;summer party;monthly review;
    project kickoff;family dinner;old town walk;winter sale;night shift notes;road trip songs;
    garden ideas;weekly planning;quiet evening;spring cleaning;team lunch;final version;
    open questions;things to fix;holiday photos;morning routine;the parcel is at the desk;
    no more coffee left;
    the code is in the drawer;keep the receipt;take the second exit;ask for the manager""".replace(
        "\n", " "
    ).split(";")
)
PHRASES = tuple(" ".join(phrase.split()) for phrase in PHRASES)

SENTENCES = (
    "the <n> is in {city}",
    "my <n> and your <m>",
    "{name} has a new <n>",
    "please <v> the <n> before {time}",
    "we <v> a <n> every {weekday}",
    "{name} and {name:b} like the <n>",
    "the <n> costs {amount}",
    "I want to <v> my <n>",
    "where is the <n> of {name}",
    "a <n> without a <m>",
    "{project} needs one more <n>",
    "no <n> today",
    "they <v> the <n> in {city}",
    "the old <n> and the new <m>",
    "see {file} for the <n>",
    "call {name} about the <n>",
    "every <n> is a <m>",
    "how to <v> a <n>",
    "{number} reasons to <v> your <n>",
    "the <n> was late again",
)
"""Short texts around a verb and two nouns."""

KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "city": (
        ("city", "location", "place", "town", "destination_city"),
        ("Name of the city", "The city", "City to use", "Where, as a city"),
        ("in {v}", "in {v}", "in the city of {v}", "over in {v}", "located in {v}"),
    ),
    "date": (
        ("date", "day", "on_date", "start_date", "event_date"),
        ("The date", "Day of the {noun}", "Date of the {noun}", "Calendar date"),
        ("on {v}", "on {v}", "for {v}", "dated {v}", "on the date {v}"),
    ),
    "time": (
        ("time", "start_time", "at_time", "hour", "clock_time"),
        ("The time", "Time of day", "Start time", "Time of the {noun}"),
        ("at {v}", "at {v}", "starting at {v}", "at exactly {v}", "beginning at {v}"),
    ),
    "person": (
        ("customer", "guest", "client", "person", "name", "user", "employee", "owner", "member"),
        ("Name of the {label}", "The {label}", "Full name of the {label}", "Who it is for"),
        ("for {v}", "for {v}", "on behalf of {v}", "in the name of {v}", "for the {label} {v}"),
    ),
    "recipient": (
        ("recipient", "to", "receiver", "addressee", "contact"),
        ("Who receives the {noun}", "Name of the {label}", "The {label}"),
        ("to {v}", "to {v}", "addressed to {v}", "going to {v}", "to my colleague {v}"),
    ),
    "quantity": (
        ("quantity", "count", "amount", "pieces", "number_of_items"),
        ("How many", "Number of pieces", "The quantity", "How many are wanted"),
        ("{v} pieces", "a quantity of {v}", "{v} of them", "{v} in total", "{v} units"),
    ),
    "minutes": (
        ("duration", "minutes", "duration_minutes", "length_minutes"),
        ("Duration in minutes", "Length in minutes", "How many minutes"),
        ("for {v} minutes", "lasting {v} minutes", "that takes {v} minutes", "over {v} minutes"),
    ),
    "people": (
        ("people", "guests", "party_size", "seats", "number_of_people"),
        ("Number of people", "How many people", "Size of the group"),
        ("for {v} people", "with {v} people", "for a group of {v}", "for {v} persons"),
    ),
    "price": (
        ("max_price", "price", "budget", "price_limit", "amount"),
        ("Highest price in euros", "Price in euros", "Budget in euros", "Price limit"),
        ("for {v} euros", "for at most {v} euros", "under {v} euros", "costing {v} euros"),
    ),
    "weight": (
        ("weight", "weight_kg", "mass", "load_kg"),
        ("Weight in kilograms", "Weight in kg", "How heavy it is in kg"),
        ("weighing {v} kg", "of {v} kg", "with {v} kg", "at {v} kilograms"),
    ),
    "radius": (
        ("radius", "distance_km", "radius_km", "max_distance"),
        ("Radius in kilometres", "Distance in km", "How far away in km"),
        ("within {v} km", "within {v} kilometres", "no further than {v} km", "in a {v} km radius"),
    ),
    "email": (
        ("email", "email_address", "to_email", "contact_email"),
        ("Email address", "Where to write", "Email of the recipient"),
        ("to {v}", "with the email {v}", "using the address {v}", "and email {v}", "at {v}"),
    ),
    "message": (
        ("message", "text", "body", "note", "content"),
        ("The {label}", "Text of the {label}", "What it says", "The {label} to use"),
        ("saying '{v}'", "that says '{v}'", "with the {label} '{v}'", "with the words '{v}'"),
    ),
    "title": (
        ("title", "subject", "headline", "heading", "caption"),
        ("The {label}", "{Label} of the {noun}", "What to call it"),
        ("called '{v}'", "titled '{v}'", "with the {label} '{v}'", "under the {label} '{v}'"),
    ),
    "code": (
        ("order_id", "reference", "code", "tracking_number", "booking_code", "id", "case_number"),
        ("The {label}", "{Label} of the {noun}", "Which {label}"),
        ("{label} {v}", "with the {label} {v}", "with {label} {v}", "under {label} {v}"),
    ),
    "file": (
        ("file", "filename", "path", "file_name", "source_file"),
        ("The file", "Name of the file", "File to use"),
        ("from {v}", "using the file {v}", "with {v}", "from the file {v}", "based on {v}"),
    ),
    "url": (
        ("url", "link", "web_address", "page"),
        ("The web address", "Link to the {noun}", "Web page"),
        ("at {v}", "from {v}", "using the link {v}", "with the link {v}"),
    ),
    "items": (
        ("items", "tags", "products", "topics", "keywords", "parts"),
        ("The {label}", "List of {label}", "Which {label}"),
        ("with the {label} {v}", "with {label} {v}", "containing {v}", "including {v}"),
    ),
    "names": (
        ("attendees", "participants", "invitees", "team_members", "guest_names"),
        ("The {label}", "Names of the {label}", "Who takes part"),
        ("with {v}", "together with {v}", "with the {label} {v}", "and invite {v}"),
    ),
    "numbers": (
        ("values", "numbers", "scores", "ids", "sizes", "readings"),
        ("The {label}", "List of {label}", "Which {label}"),
        ("with the {label} {v}", "for the {label} {v}", "using the {label} {v}", "{label} {v}"),
    ),
}
"""Kinds of parameters: names, descriptions, and phrases that state a value in a question."""

GENERIC_PHRASES = (
    "with {label} {v}",
    "with a {label} of {v}",
    "with the {label} {v}",
    "with the {label} set to {v}",
    "using {v} as the {label}",
    "where the {label} is {v}",
    "and {label} {v}",
    "and a {label} of {v}",
    "({label} {v})",
    "({label}: {v})",
    "at {label} {v}",
    "for {label} {v}",
    "whose {label} is {v}",
    "taking {v} for the {label}",
    "{label} {v}",
    "{label} = {v}",
    "the {label} being {v}",
    "with {v} as {label}",
    "its {label} should be {v}",
    "and use {v} for the {label}",
    "on {label} {v}",
    "by {label} {v}",
)
"""How a question states the value of a parameter by the parameter's own words."""

OPTION_PHRASES = (
    "with {label} {v}",
    "with {v} {label}",
    "and {label} {v}",
    "with the {label} set to {v}",
    "({v} {label})",
    "in {v} {label}",
    "{label} {v}",
    "as {label} {v}",
    "with {v} as the {label}",
    "choosing {v} for the {label}",
    "{v} {label} please",
)
SWITCH_PHRASES: tuple[tuple[str, str], ...] = (
    ("with {v}", "without {v}"),
    ("with {v}", "with no {bare}"),
    ("and include {v}", "and leave out {v}"),
    ("including {v}", "excluding {v}"),
    ("{bare} on", "{bare} off"),
    ("{bare}: yes", "{bare}: no"),
    ("with {bare} enabled", "with {bare} disabled"),
    ("and I want {v}", "and I do not want {v}"),
    ("plus {v}", "minus {v}"),
    ("and turn {bare} on", "and turn {bare} off"),
)
