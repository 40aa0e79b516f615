"""A paragraph in each language that identification must know, written for these tests."""

PARAGRAPHS = {
    "en": "The ferry to the island leaves at noon, and whoever misses it has to wait until the evening. Most of the passengers "
          "are fishermen who come home with empty baskets, students with heavy bags, and an old woman who sells oranges to "
          "everybody. Nobody is in a hurry.",
    "es": "El transbordador hacia la isla sale al mediodía, y quien lo pierde tiene que esperar hasta la noche. La mayoría de "
          "los pasajeros son pescadores que vuelven a casa con las cestas vacías, estudiantes con mochilas pesadas y una "
          "anciana que vende naranjas a todos.",
    "pt": "A barca para a ilha parte ao meio-dia, e quem a perde tem de esperar até à noite. A maioria dos passageiros são "
          "pescadores que voltam para casa com os cestos vazios, estudantes com mochilas pesadas e uma velhinha que vende "
          "laranjas a toda a gente.",
    "ro": "Feribotul spre insulă pleacă la prânz, iar cine îl pierde trebuie să aștepte până seara. Cei mai mulți dintre "
          "călători sunt pescari care se întorc acasă cu coșurile goale, studenți cu rucsacuri grele și o bătrână care vinde "
          "portocale tuturor.",
    "fr": "Le bac pour l’île part à midi, et celui qui le manque doit attendre jusqu’au soir. La plupart des passagers sont "
          "des pêcheurs qui rentrent chez eux avec des paniers vides, des étudiants aux sacs lourds et une vieille dame qui "
          "vend des oranges à tout le monde.",
    "it": "Il traghetto per l’isola parte a mezzogiorno, e chi lo perde deve aspettare fino a sera. La maggior parte dei "
          "passeggeri sono pescatori che tornano a casa con le ceste vuote, studenti con zaini pesanti e una vecchietta che "
          "vende arance a tutti.",
    "ca": "El transbordador cap a l’illa surt al migdia, i qui el perd ha d’esperar fins al vespre. La majoria dels passatgers "
          "són pescadors que tornen a casa amb els cistells buits, estudiants amb motxilles pesades i una dona gran que ven "
          "taronges a tothom.",
    "gl": "O transbordador cara á illa sae ao mediodía, e quen o perde ten que agardar ata a noite. A maioría dos pasaxeiros "
          "son pescadores que volven á casa coas cestas baleiras, estudantes con mochilas pesadas e unha velliña que vende "
          "laranxas a todo o mundo.",
    "de": "Die Fähre zur Insel fährt mittags ab, und wer sie verpasst, muss bis zum Abend warten. Die meisten Fahrgäste sind "
          "Fischer, die mit leeren Körben nach Hause kommen, Studenten mit schweren Taschen und eine alte Frau, die allen "
          "Apfelsinen verkauft.",
    "nl": "De veerboot naar het eiland vertrekt om twaalf uur, en wie hem mist moet tot de avond wachten. De meeste passagiers "
          "zijn vissers die met lege manden naar huis komen, studenten met zware tassen en een oude vrouw die aan iedereen "
          "sinaasappels verkoopt.",
    "zh": "去岛上的渡船中午出发，错过的人只能等到晚上。乘客大多是提着空篮子回家的渔民、背着沉重书包的学生，还有一位向所有人卖橙"
          "子的老太太。没有人着急。",
    "ja": "島へ渡る船は正午に出て、乗り遅れた人は夕方まで待たなければならない。乗客の多くは空の籠を提げて家に帰る漁師や、重い鞄"
          "を持った学生、そして誰にでもみかんを売る老婆である。",
    "ko": "섬으로 가는 배는 정오에 떠나고, 놓친 사람은 저녁까지 기다려야 한다. 승객은 대부분 빈 바구니를 들고 집으로 돌아가는 "
          "어부와 무거운 가방을 멘 학생, 그리고 모두에게 귤을 파는 할머니이다.",
    "ar": "تغادر العبّارة إلى الجزيرة عند الظهر، ومن يفوته ذلك عليه أن ينتظر حتى المساء. معظم الركاب صيادون يعودون إلى بيوتهم "
          "بسلال فارغة، وطلاب يحملون حقائب ثقيلة، وامرأة عجوز تبيع البرتقال للجميع. لا أحد في عجلة من أمره.",
    "fa": "کشتی جزیره ظهر حرکت می‌کند و هر کس به آن نرسد باید تا شب صبر کند. بیشتر مسافران ماهیگیرانی هستند که با سبدهای خالی "
          "به خانه برمی‌گردند، دانشجویانی با کیف‌های سنگین، و پیرزنی که به همه پرتقال می‌فروشد. هیچ کس عجله ندارد.",
    "ru": "Паром на остров уходит в полдень, и тот, кто опоздал, должен ждать до вечера. Большинство пассажиров — рыбаки, "
          "которые возвращаются домой с пустыми корзинами, студенты с тяжёлыми сумками и старушка, продающая всем апельсины. "
          "Никто не торопится.",
    "uk": "Пором на острів відходить опівдні, і той, хто запізнився, мусить чекати до вечора. Більшість пасажирів — рибалки, "
          "які повертаються додому з порожніми кошиками, студенти з важкими торбами та бабуся, що продає всім апельсини. Ніхто "
          "не поспішає.",
    "hi": "द्वीप की नाव दोपहर में चलती है और जो उसे छोड़ देता है उसे शाम तक इंतज़ार करना पड़ता है। अधिकतर यात्री मछुआरे हैं जो "
          "खाली टोकरियाँ लेकर घर लौटते हैं, भारी थैले वाले विद्यार्थी हैं और एक बूढ़ी औरत है जो सबको संतरे बेचती है। किसी को "
          "जल्दी नहीं है।",
}
